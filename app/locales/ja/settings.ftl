# The settings page.

settings-data = データフォルダー
settings-keys = キー: Ctrl+1〜Ctrl+5 ページ、Ctrl+N 新しいチャット、Ctrl+F 検索、Ctrl+P プロンプト、Ctrl+Z 元に戻す、Alt+← と Alt+→ 最後の回答を切り替え、Esc 停止
settings-language = 言語
settings-language-system = システムに合わせる
settings-scale = 拡大率
settings-theme = テーマ
settings-theme-dark = ダーク
settings-theme-dark-contrast = ダーク（ハイコントラスト）
settings-theme-light = ライト
settings-theme-light-contrast = ライト（ハイコントラスト）
settings-theme-system = システムに合わせる
settings-user-name = あなたの名前