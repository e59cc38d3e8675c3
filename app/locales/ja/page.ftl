# Names of the pages.

page-chat = チャット
page-library = ライブラリ
page-models = モデル
page-gpu = GPU
page-settings = 設定
