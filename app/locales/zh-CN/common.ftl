# Words that every page uses.

common-cancel = 取消
common-close = 关闭
common-copy = 复制
common-delete = 删除
common-edit = 编辑
common-export = 导出
common-no-dialog = 无法显示文件对话框（{ $reason }）。请输入路径，或将文件拖到窗口中。
common-no-dialog-save = 无法显示文件对话框（{ $reason }）。文件将保存到下载文件夹。
common-not-open = 无法打开您的聊天记录
common-open = 打开
common-resize = 调整面板宽度
common-retry = 重试
common-save-problem = 未能保存：{ $reason }
common-set-aside = 将损坏的文件移到一旁，重新开始
common-set-aside-done = 损坏的文件保留在：{ $path }
common-set-aside-hint = 损坏的文件会被重命名并留在原文件夹中，不会再丢失任何内容。新的空文件将取代它。
common-undo = 撤销
