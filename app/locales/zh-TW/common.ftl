# Words that every page uses.

common-cancel = 取消
common-close = 關閉
common-copy = 複製
common-delete = 刪除
common-edit = 編輯
common-export = 匯出
common-not-open = 無法開啟您的聊天記錄
common-open = 開啟
common-resize = 調整面板寬度
common-retry = 重試
common-save-problem = 尚未儲存：{ $reason }
common-undo = 復原
