# The library of characters.

library-active = Active now
library-active-because = Active: “{ $key }” was mentioned
library-active-constant = Active: always on
library-active-decorator = Active: set by the entry itself
library-active-dropped = Left out: the lorebook’s budget is used up
library-active-none = No entries are active.
library-active-recursive = Active: mentioned by another entry
library-add-to-chat = Add to chat
library-alternate-greetings = Alternate greetings
library-characters = Characters
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
library-examples = Examples
library-export-charx = Export as CHARX
library-export-json = Export as JSON
library-export-png = Export as PNG
library-filter = Filter characters
library-greeting = Greeting
library-import = Import a card
library-imported = { $name } was imported.
library-in-chat = In this chat
library-lorebook = Lorebook
library-lorebook-add = Add entry
library-lorebook-budget = Budget in tokens
library-lorebook-constant = Always on
library-lorebook-content = Content
library-lorebook-depth = Messages searched
library-lorebook-entries =
    { $n ->
        [one] { $n } entry
       *[other] { $n } entries
    }
library-lorebook-keys = Keys
library-lorebook-order = Order
library-lorebook-priority = Priority
library-lorebook-recursive = Entries may call up entries
library-lorebook-regex = Keys are regular expressions
library-lorebook-secondary = Secondary keys
library-nickname = Nickname
library-personality = Personality
library-portrait-of = Portrait of { $name }
library-post-history = After the history
library-refused = { $file } was refused: { $reason }
library-remove-from-chat = Remove from chat
library-scenario = Scenario
library-speaker-auto = Whoever spoke last
library-speaks = Who speaks
library-start-chat = Chat with { $name }
library-system-prompt = System prompt
library-tags = Tags
library-version = Version
library-warnings =
    { $n ->
        [one] { $n } note on this card
       *[other] { $n } notes on this card
    }
