# Names of the pages.

page-chat = Chat
page-library = Bibliothek
page-models = Modelle
page-gpu = GPU
page-settings = Einstellungen
