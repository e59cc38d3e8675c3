# The settings page.

settings-about = 关于
settings-data = 数据文件夹
settings-data-folder-hint = 聊天、角色和设置保存在这里。
settings-keys = 按键：Ctrl+1 至 Ctrl+5 切换页面，Ctrl+N 新建聊天，Ctrl+F 搜索，Ctrl+P 提示词，Ctrl+Z 撤销，Esc 停止
settings-language = 语言
settings-language-system = 跟随系统
settings-open-folder = 打开文件夹
settings-scale = 缩放
settings-scale-hint = 窗口中所有内容的大小。
settings-theme = 主题
settings-theme-dark = 深色
settings-theme-dark-contrast = 深色高对比度
settings-theme-light = 浅色
settings-theme-light-contrast = 浅色高对比度
settings-theme-system = 跟随系统
settings-user-name = 您的名字
settings-user-name-hint = 角色对您的称呼，用于替换 {"{{"}user{"}}"}。
