# Words that every page uses.

common-cancel = 取消
common-close = 关闭
common-copy = 复制
common-delete = 删除
common-edit = 编辑
common-export = 导出
common-not-open = 无法打开您的聊天记录
common-open = 打开
common-resize = 调整面板宽度
common-retry = 重试
common-save-problem = 未能保存：{ $reason }
common-undo = 撤销
