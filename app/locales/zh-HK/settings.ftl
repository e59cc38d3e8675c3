# The settings page.

settings-data = 數據資料夾
settings-keys = 按鍵：Ctrl+1 至 Ctrl+5 轉換頁面，Ctrl+N 新聊天，Ctrl+F 搜尋，Ctrl+P 提示詞，Ctrl+Z 復原，Alt+← 與 Alt+→ 切換最後的回覆，Esc 停止
settings-language = 語言
settings-language-system = 跟隨系統
settings-scale = 縮放比例
settings-theme = 主題
settings-theme-dark = 深色
settings-theme-dark-contrast = 深色高對比
settings-theme-light = 淺色
settings-theme-light-contrast = 淺色高對比
settings-theme-system = 跟隨系統
settings-user-name = 你的名字