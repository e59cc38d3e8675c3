# The GPU page.

gpu-adapter-best = 自动选择最佳
gpu-adapters = 可用显卡
gpu-bench = 性能测试
gpu-bench-context = 上下文长度（token）
gpu-bench-decode = 解码速度与上下文长度
gpu-bench-hint = 测量已加载的模型；期间暂停回答。
gpu-bench-prefill = 预填充速度与长度
gpu-bench-prompt-tokens = 提示词长度（token）
gpu-cases = 用例
gpu-conformance = 一致性测试
gpu-conformance-hint = 将每个内核与其 CPU 参考实现进行比对。
gpu-conformance-result = { $device }：{ $n } 项中有 { $failed } 项失败
gpu-error = 误差
gpu-failed = 失败
gpu-in-use = 使用中：{ $device }
gpu-kernel = 内核
gpu-running = 已运行 { $seconds } 秒
gpu-self-test-passed = 所有内核均与参考实现一致。
gpu-variant = 变体
