# Words that every page uses.

common-cancel = 取消
common-close = 關閉
common-copy = 複製
common-delete = 刪除
common-edit = 編輯
common-export = 匯出
common-not-open = 無法開啟你的聊天記錄
common-open = 開啟
common-resize = 調校面板闊度
common-retry = 再試一次
common-save-problem = 未能儲存：{ $reason }
common-undo = 復原
