# Words that every page uses.

common-cancel = Cancel
common-close = Close
common-copy = Copy
common-delete = Delete
common-edit = Edit
common-export = Export
common-not-open = Your chats cannot be opened
common-open = Open
common-resize = Resize the panel
common-retry = Try again
common-save-problem = Not saved: { $reason }
common-undo = Undo
