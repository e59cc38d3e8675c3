# The GPU page.

gpu-adapter-best = 自動（最適なもの）
gpu-adapters = 利用できるアダプター
gpu-bench = ベンチマーク
gpu-bench-context = コンテキスト長（トークン）
gpu-bench-decode = デコード速度（コンテキスト長別）
gpu-bench-hint = 読み込んだモデルを計測します。その間、回答は待たされます。
gpu-bench-prefill = プリフィル速度（長さ別）
gpu-bench-prompt-tokens = プロンプト長（トークン）
gpu-cases = 項目数
gpu-conformance = 適合性テスト
gpu-conformance-hint = すべてのカーネルを CPU の参照実装と比べます。
gpu-conformance-result = { $device }: { $n } 件中 { $failed } 件が失敗
gpu-error = 誤差
gpu-failed = 失敗
gpu-in-use = 使用中: { $device }
gpu-kernel = カーネル
gpu-running = { $seconds } 秒経過
gpu-self-test-passed = すべてのカーネルが参照実装と一致しました。
gpu-variant = バリアント
