# Words that every page uses.

common-cancel = Cancel
common-close = Close
common-copy = Copy
common-delete = Delete
common-edit = Edit
common-export = Export
common-no-dialog = No file dialog can be shown here ({ $reason }). Type the path, or drop the file on the window.
common-no-dialog-save = No file dialog can be shown here ({ $reason }). The file goes to your downloads.
common-not-open = Your chats cannot be opened
common-open = Open
common-resize = Resize the panel
common-retry = Try again
common-save-problem = Not saved: { $reason }
common-set-aside = Set the damaged file aside and begin anew
common-set-aside-done = The damaged file is kept here: { $path }
common-set-aside-hint = The damaged file is renamed and stays in its folder, so nothing more is lost. A new, empty one takes its place.
common-undo = Undo
