# Words that every page uses.

common-cancel = 取消
common-close = 關閉
common-copy = 複製
common-delete = 刪除
common-edit = 編輯
common-export = 匯出
common-no-dialog = 無法顯示檔案對話框（{ $reason }）。請輸入路徑，或將檔案拖曳到視窗中。
common-no-dialog-save = 無法顯示檔案對話框（{ $reason }）。檔案會存到下載資料夾。
common-not-open = 無法開啟您的聊天記錄
common-open = 開啟
common-resize = 調整面板寬度
common-retry = 重試
common-save-problem = 尚未儲存：{ $reason }
common-set-aside = 將損壞的檔案移到一旁，重新開始
common-set-aside-done = 損壞的檔案保留在：{ $path }
common-set-aside-hint = 損壞的檔案會重新命名並留在原資料夾，不會再遺失任何內容。新的空白檔案會取代它。
common-undo = 復原
