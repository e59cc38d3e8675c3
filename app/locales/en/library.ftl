# The library of characters.

library-active-because = Active: “{ $key }” was mentioned
library-active-constant = Active: always on
library-active-decorator = Active: set by the entry itself
library-active-dropped = Left out: the lorebook’s budget is used up
library-active-none = No entries are active.
library-active-recursive = Active: mentioned by another entry
library-add-to-chat = Add to chat
library-characters = Characters
library-create = New character
library-create-entry = From an encyclopedic entry
library-create-entry-hint = Written about the character, as an encyclopedia would.
library-create-narration = From a narration
library-create-narration-hint = Told by the character, in the first person.
library-create-traits = From traits
library-create-traits-hint = One trait a line, such as “Age: 23”.
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
library-let-speak = Let this character speak
library-lorebook-entries =
    { $n ->
        [one] { $n } entry
       *[other] { $n } entries
    }
library-name = Name
library-nickname = Nickname
library-personality = Personality
library-portrait-of = Portrait of { $name }
library-post-history = After the history
library-remove-from-chat = Remove from chat
library-scenario = Scenario
library-speaks = Who speaks
library-start-chat = Chat with { $name }
library-system-prompt = System prompt