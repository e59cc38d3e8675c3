# The settings page.

settings-data = 数据文件夹
settings-keys = 按键：Ctrl+1 至 Ctrl+5 切换页面，Ctrl+N 新建聊天，Ctrl+F 搜索，Ctrl+P 提示词，Ctrl+Z 撤销，Alt+← 与 Alt+→ 切换最后的回答，Esc 停止
settings-language = 语言
settings-language-system = 跟随系统
settings-scale = 缩放
settings-theme = 主题
settings-theme-dark = 深色
settings-theme-dark-contrast = 深色高对比度
settings-theme-light = 浅色
settings-theme-light-contrast = 浅色高对比度
settings-theme-system = 跟随系统
settings-user-name = 您的名字