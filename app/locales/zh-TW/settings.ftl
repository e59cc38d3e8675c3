# The settings page.

settings-about = 關於
settings-data = 資料存放資料夾
settings-data-folder-hint = 聊天、角色和設定都存放在這裡。
settings-keys = 按鍵：Ctrl+1 至 Ctrl+5 切換頁面，Ctrl+N 新聊天，Ctrl+F 搜尋，Ctrl+P 提示詞，Ctrl+Z 復原，Esc 停止
settings-language = 語言
settings-language-system = 依照系統
settings-open-folder = 開啟資料夾
settings-scale = 縮放比例
settings-scale-hint = 視窗內所有內容的大小。
settings-theme = 佈景主題
settings-theme-dark = 深色
settings-theme-dark-contrast = 深色高對比
settings-theme-light = 淺色
settings-theme-light-contrast = 淺色高對比
settings-theme-system = 依照系統
settings-user-name = 您的名字
settings-user-name-hint = 角色對您的稱呼，用來代入 {"{{"}user{"}}"}。
