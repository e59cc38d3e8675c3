# Names of the pages.

page-chat = Chat
page-library = Library
page-models = Models
page-gpu = GPU
page-settings = Settings
