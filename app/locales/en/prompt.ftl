# The prompt panel.

prompt-copy-all = Copy all
prompt-dropped =
    { $n ->
        [one] { $n } older message is left out ({ $budget } for space, { $depth } for the history limit, { $slot } for the preset)
       *[other] { $n } older messages are left out ({ $budget } for space, { $depth } for the history limit, { $slot } for the preset)
    }
prompt-history-depth = History depth
prompt-history-limit = Limit the history
prompt-keyword-forbidden = FORBIDDEN: the model refuses to answer, with a reason.
prompt-keyword-no-idea = NO IDEA: the model says that it lacks the knowledge, and points elsewhere.
prompt-keyword-sfw = SFW: the model refuses what a content filter would reject.
prompt-keywords = Keywords
prompt-knowledge = System knowledge
prompt-knowledge-hint = What the model should know or be: facts, a role, rules.
prompt-language = Language of the prompt’s own words
prompt-language-hint = The few words that the builder adds itself, such as “Source”.
prompt-neutralised = Neutralised “{ $marker }” in { $place }
prompt-neutralised-hint = Text that looks like a marker of the prompt was quoted, so that it cannot close its section.
prompt-no-model = Load a model to see the prompt with its tokens.
prompt-panel = Show or hide the prompt
prompt-place-character = the character
prompt-place-knowledge = the System knowledge
prompt-place-message = message { $n }
prompt-place-source = source { $n }
prompt-preset = Preset
prompt-preset-auto = automatic ({ $preset })
prompt-preset-auto-hint = A model that brings a chat template gets that; any other model gets Guanaco’s format.
prompt-section-frame = Frame
prompt-section-history = History
prompt-section-input = Input
prompt-section-reply = Reply
prompt-section-system = System
prompt-section-template = Chat template
prompt-source-add = Add source
prompt-source-delete = Delete the source “{ $title }”
prompt-source-file = Add from files…
prompt-source-link = Link
prompt-source-link-open = Open the link in the browser
prompt-source-on = Use “{ $title }”
prompt-source-text = Text
prompt-source-title = Title
prompt-source-untitled = Source { $n }
prompt-sources = Sources
prompt-sources-hint = Paste text, or drop text and Markdown files on the window.
prompt-system-title = Knowledge
prompt-title = Prompt
prompt-tokens =
    { $n ->
        [one] { $n } token
       *[other] { $n } tokens
    }
prompt-tokens-of = { $n } of { $context } tokens
