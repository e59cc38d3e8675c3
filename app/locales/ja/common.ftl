# Words that every page uses.

common-cancel = キャンセル
common-close = 閉じる
common-copy = コピー
common-delete = 削除
common-edit = 編集
common-export = 書き出す
common-not-open = チャットを開けません
common-open = 開く
common-resize = パネルの幅を変える
common-retry = もう一度試す
common-save-problem = 保存できていません: { $reason }
common-undo = 元に戻す
