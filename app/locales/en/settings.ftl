# The settings page.

settings-data = Data folder
settings-keys = Keys: Ctrl+1 to Ctrl+5 pages, Ctrl+N new chat, Ctrl+F search, Ctrl+P prompt, Ctrl+Z undo, Alt+← and Alt+→ swipe the last answer, Esc stop
settings-language = Language
settings-language-system = As the system
settings-scale = Scale
settings-theme = Theme
settings-theme-dark = Dark
settings-theme-dark-contrast = Dark, high contrast
settings-theme-light = Light
settings-theme-light-contrast = Light, high contrast
settings-theme-system = As the system
settings-user-name = Your name