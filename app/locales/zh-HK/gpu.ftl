# The GPU page.

gpu-adapter-best = 自動選擇最佳
gpu-adapters = 可用的顯示卡
gpu-bench = 效能測試
gpu-bench-context = 上下文長度（token）
gpu-bench-decode = 解碼速度與上下文長度
gpu-bench-hint = 測量已載入的模型；期間暫停回覆。
gpu-bench-prefill = 預填速度與長度
gpu-bench-prompt-tokens = 提示詞長度（token）
gpu-cases = 案例
gpu-conformance = 一致性測試
gpu-conformance-hint = 將每個核心與其 CPU 參考實作比對。
gpu-conformance-result = { $device }：{ $n } 項中有 { $failed } 項失敗
gpu-error = 誤差
gpu-failed = 失敗
gpu-in-use = 使用中：{ $device }
gpu-kernel = 核心
gpu-running = 已執行 { $seconds } 秒
gpu-self-test-passed = 所有核心均與參考實作一致。
gpu-variant = 變體
