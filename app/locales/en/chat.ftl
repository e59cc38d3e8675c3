# The chat: messages, the field to type in, the list of chats.

chat-answer = Answer this message
chat-assistant = Assistant
chat-branch = Branch off into a new chat
chat-cached = { $cached } cached, { $new } new
chat-characters-gone =
    { $n ->
        [one] A character of this chat is not in the library any more, and does not speak in it.
       *[other] { $n } characters of this chat are not in the library any more, and do not speak in it.
    }
chat-continue = Continue this answer
chat-cut-context = Ended because the context is full
chat-cut-limit = Ended at the limit of new tokens
chat-delete = Delete this message and what follows it
chat-delete-chat = Delete chat
chat-delete-question = Delete “{ $title }” for good?
chat-dropped =
    { $n ->
        [one] { $n } message left out
       *[other] { $n } messages left out
    }
chat-dropped-budget = no room: { $words }…
chat-dropped-depth = beyond the history’s depth: { $words }…
chat-dropped-no-slot = the format has no place for it: { $words }…
chat-edit = Edit message
chat-edit-done = Apply
chat-embedded-hint = This is the tiny built-in model, made for trying things out. Choose a full one under Models.
chat-empty-hint = Write below; Enter sends, Shift+Enter starts a new line.
chat-empty-title = What would you like to talk about?
chat-export-json = Export all as JSON
chat-export-md = Export as Markdown
chat-export-text = Export as text
chat-first-token = first token after { $seconds } s
chat-hidden = Not part of the prompt
chat-hint = Write a message
chat-import = Import a chat
chat-incomplete = This answer was interrupted; it can be continued.
chat-keyword-forbidden = FORBIDDEN was on: the model may decline to answer.
chat-keyword-no-idea = NO IDEA was on: the model may say that it lacks the knowledge.
chat-keyword-sfw = SFW was on: the model may decline what a content filter rejects.
chat-list-filter = Filter chats
chat-menu-of = Menu of “{ $title }”
chat-message = Message
chat-new = New chat
chat-next = Next answer
chat-no-model = No model is loaded, so nothing can answer: load one on the page “Models”.
chat-newest = Newest
chat-no-source = No source was given: facts in this answer may be wrong.
chat-nothing-said = The model ended its answer before the first word. Try again, or change the question.
chat-previous = Previous answer
chat-reading = Reading the prompt: { $done } of { $new }, { $cached } cached
chat-regenerate = Answer again
chat-rename = Rename
chat-saved = Saved
chat-saving = Saving…
chat-search = Search this chat
chat-search-count = { $at } of { $n }
chat-search-next = Next match
chat-search-open = Find in this chat
chat-search-previous = Previous match
chat-seed = seed { $seed }
chat-send = Send
chat-speed = { $speed } tok/s
chat-stop = Stop
chat-stopped = Stopped by you
chat-token-branch = Go on from this token instead
chat-token-chance = Chance: { $percent }
chat-token-name = Token “{ $text }”, { $percent }
chat-tokens = Look at the tokens
chat-tokens-hint = The stronger the colour, the less likely the token was. Click one for its alternatives.
chat-tokens-none = No token data was kept for this answer.
chat-writing =
    { $n ->
        [one] { $n } token, { $speed } tok/s
       *[other] { $n } tokens, { $speed } tok/s
    }
chat-you = You
