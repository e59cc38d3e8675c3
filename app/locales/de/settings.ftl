# The settings page.

settings-data = Datenordner
settings-keys = Tasten: Strg+1 bis Strg+5 Seiten, Strg+N neuer Chat, Strg+F Suche, Strg+P Prompt, Strg+Z rückgängig, Alt+← und Alt+→ andere Antwort, Esc Stopp
settings-language = Sprache
settings-language-system = Wie das System
settings-scale = Größe
settings-theme = Farbschema
settings-theme-dark = Dunkel
settings-theme-dark-contrast = Dunkel, hoher Kontrast
settings-theme-light = Hell
settings-theme-light-contrast = Hell, hoher Kontrast
settings-theme-system = Wie das System
settings-user-name = Ihr Name