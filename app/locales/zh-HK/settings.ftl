# The settings page.

settings-about = 關於
settings-data = 數據資料夾
settings-data-folder-hint = 聊天、角色和設定都儲存在此處。
settings-keys = 按鍵：Ctrl+1 至 Ctrl+5 轉換頁面，Ctrl+N 新聊天，Ctrl+F 搜尋，Ctrl+P 提示詞，Ctrl+Z 復原，Esc 停止
settings-language = 語言
settings-language-system = 跟隨系統
settings-open-folder = 開啟資料夾
settings-scale = 縮放比例
settings-scale-hint = 視窗內所有內容的大小。
settings-theme = 主題
settings-theme-dark = 深色
settings-theme-dark-contrast = 深色高對比
settings-theme-light = 淺色
settings-theme-light-contrast = 淺色高對比
settings-theme-system = 跟隨系統
settings-user-name = 你的名字
settings-user-name-hint = 角色對你的稱呼，用來代入 {"{{"}user{"}}"}。
