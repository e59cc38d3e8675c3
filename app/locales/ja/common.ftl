# Words that every page uses.

common-cancel = キャンセル
common-close = 閉じる
common-copy = コピー
common-delete = 削除
common-edit = 編集
common-export = 書き出す
common-no-dialog = ファイルのダイアログを表示できません（{ $reason }）。パスを入力するか、ファイルをウィンドウにドロップしてください。
common-no-dialog-save = ファイルのダイアログを表示できません（{ $reason }）。ファイルはダウンロードフォルダーに保存します。
common-not-open = チャットを開けません
common-open = 開く
common-resize = パネルの幅を変える
common-retry = もう一度試す
common-save-problem = 保存できていません: { $reason }
common-set-aside = 壊れたファイルを脇に置いて新しく始める
common-set-aside-done = 壊れたファイルの場所: { $path }
common-set-aside-hint = 壊れたファイルは名前を変えて同じフォルダーに残すので、これ以上失われるものはありません。代わりに新しい空のファイルを作ります。
common-undo = 元に戻す
