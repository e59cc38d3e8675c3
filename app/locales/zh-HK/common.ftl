# Words that every page uses.

common-cancel = 取消
common-close = 關閉
common-copy = 複製
common-delete = 刪除
common-edit = 編輯
common-export = 匯出
common-no-dialog = 未能顯示檔案對話框（{ $reason }）。請輸入路徑，或將檔案拖放到視窗內。
common-no-dialog-save = 未能顯示檔案對話框（{ $reason }）。檔案會儲存到下載資料夾。
common-not-open = 無法開啟你的聊天記錄
common-open = 開啟
common-resize = 調校面板闊度
common-retry = 再試一次
common-save-problem = 未能儲存：{ $reason }
common-set-aside = 將損壞的檔案移開，重新開始
common-set-aside-done = 損壞的檔案存放於：{ $path }
common-set-aside-hint = 損壞的檔案會改名並留在原資料夾，不會再失去任何內容。新的空白檔案會取而代之。
common-undo = 復原
