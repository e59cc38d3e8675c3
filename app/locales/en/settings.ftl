# The settings page.

settings-about = About
settings-data = Data folder
settings-data-folder-hint = Chats, characters and settings are kept here.
settings-keys = Keys: Ctrl+1 to Ctrl+5 pages, Ctrl+N new chat, Ctrl+F search, Ctrl+P prompt, Ctrl+Z undo, Esc stop
settings-language = Language
settings-language-system = As the system
settings-open-folder = Open folder
settings-scale = Scale
settings-scale-hint = Size of everything in the window.
settings-theme = Theme
settings-theme-dark = Dark
settings-theme-dark-contrast = Dark, high contrast
settings-theme-light = Light
settings-theme-light-contrast = Light, high contrast
settings-theme-system = As the system
settings-user-name = Your name
settings-user-name-hint = What characters call you; it stands for {"{{"}user{"}}"}.
