# The settings page.

settings-about = このアプリについて
settings-data = データフォルダー
settings-data-folder-hint = チャット、キャラクター、設定はここに保存されます。
settings-keys = キー: Ctrl+1〜Ctrl+5 ページ、Ctrl+N 新しいチャット、Ctrl+F 検索、Ctrl+P プロンプト、Ctrl+Z 元に戻す、Esc 停止
settings-language = 言語
settings-language-system = システムに合わせる
settings-open-folder = フォルダーを開く
settings-scale = 拡大率
settings-scale-hint = ウィンドウ全体の表示の大きさです。
settings-theme = テーマ
settings-theme-dark = ダーク
settings-theme-dark-contrast = ダーク（ハイコントラスト）
settings-theme-light = ライト
settings-theme-light-contrast = ライト（ハイコントラスト）
settings-theme-system = システムに合わせる
settings-user-name = あなたの名前
settings-user-name-hint = キャラクターがあなたを呼ぶ名前です。{"{{"}user{"}}"} に入ります。
