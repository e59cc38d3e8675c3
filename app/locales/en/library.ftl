# The library of characters.

library-active-because = Active: “{ $key }” was mentioned
library-active-constant = Active: always on
library-active-decorator = Active: set by the entry itself
library-active-dropped = Left out: the lorebook’s budget is used up
library-active-none = No entries are active.
library-active-recursive = Active: mentioned by another entry
library-add-to-chat = Add to chat
library-characters = Characters
library-choose = Choose cards…
library-create = New character
library-create-entry = From an encyclopedic entry
library-create-entry-hint = Written about the character, as an encyclopedia would.
library-create-narration = From a narration
library-create-narration-hint = Told by the character, in the first person.
library-create-traits = From traits
library-create-traits-hint = One trait a line, such as “Age: 23”.
library-creator = Creator
library-creator-notes = Creator’s notes
library-delete-question = Delete the character “{ $name }” for good?
library-description = Description
library-drop-hint = Drop character cards here: PNG, JSON or CHARX
library-empty = No characters yet. Create one, or drop a card here.
library-entry-add = Add an entry
library-entry-after = After the character
library-entry-before = Before the character
library-entry-case = Case-sensitive
library-entry-case-hint = Keys must be written as in the chat. Patterns as /pattern/flags say it by themselves.
library-entry-comment = Comment
library-entry-constant = Always active
library-entry-constant-hint = It takes part without a key.
library-entry-content = Content
library-entry-decorated = A line at the head of the content decides
library-entry-decorators = What goes into the prompt. Lines at its head can say more; known are:
library-entry-down = Move “{ $name }” down
library-entry-idle = Not active now
library-entry-keys = Keys
library-entry-keys-hint = One a line. Any of them in the chat brings the entry into the prompt.
library-entry-name = Entry’s name
library-entry-on = Use “{ $name }”
library-entry-order = Insertion order
library-entry-order-hint = Lower numbers stand earlier in the prompt.
library-entry-position = Position
library-entry-priority = Priority
library-entry-priority-hint = When the budget is used up, lower numbers are left out first. It is the order where none is set.
library-entry-problem = This entry matches nothing: { $reason }
library-entry-regex = Keys are patterns
library-entry-regex-hint = Regular expressions, as /pattern/flags or plain. Those that could take more than linear time are refused.
library-entry-remove = Remove “{ $name }”
library-entry-secondary = Secondary keys
library-entry-selective = Needs a secondary key
library-entry-selective-hint = One of the secondary keys, one a line, must be in the chat, too.
library-entry-up = Move “{ $name }” up
library-examples = Examples
library-export-charx = Export as CHARX
library-export-json = Export as JSON ({ $version })
library-export-png = Export as PNG
library-files =
    { $n ->
        [one] One more file came with this card. It is kept, and goes into CHARX.
       *[other] { $n } more files came with this card. They are kept, and go into CHARX.
    }
library-filter = Filter characters
library-greeting = Greeting
library-greeting-add = Add a greeting
library-greeting-add-to = Add to “{ $list }”
library-greeting-of = { $list } { $n }
library-greeting-remove = Remove this greeting
library-greetings-group = Greetings in a group
library-greetings-group-hint = Offered besides, where several characters share a chat.
library-greetings-other = Other greetings
library-greetings-other-hint = A chat begins with the greeting, and these can be swiped to.
library-import = Import a card
library-let-speak = Let this character speak
library-lorebook = Lorebook
library-lorebook-add = Add a lorebook
library-lorebook-budget = Token budget
library-lorebook-budget-hint = The most tokens that all entries in the prompt may have together.
library-lorebook-depth = Scan depth
library-lorebook-depth-hint = In how many of the newest messages keys are looked for.
library-lorebook-entries =
    { $n ->
        [one] { $n } entry
       *[other] { $n } entries
    }
library-lorebook-filter = Search entries
library-lorebook-odd = What the card has for a lorebook cannot be read. It stays in the card as it is.
library-lorebook-recursive = Recursive scanning
library-lorebook-recursive-hint = Keys are looked for in active entries, too, so that one can bring in another.
library-name = Name
library-nickname = Nickname
library-only-charx =
    { $n ->
        [one] One more file of this character is not in it: only CHARX has room for it.
       *[other] { $n } more files of this character are not in it: only CHARX has room for them.
    }
library-personality = Personality
library-portrait-choose = Choose a portrait…
library-portrait-of = Portrait of { $name }
library-post-history = After the history
library-remove-from-chat = Remove from chat
library-scenario = Scenario
library-speaks = Who speaks
library-start-chat = Chat with { $name }
library-system-prompt = System prompt
library-tags = Tags
library-tags-hint = One a line. They are for sorting, and never in the prompt.
library-version = Version of the card
