# The GPU page.

gpu-adapter-best = The best there is
gpu-adapters = Adapters
gpu-bench = Bench
gpu-bench-context = Context length, tokens
gpu-bench-decode = Decode over context
gpu-bench-hint = Measures the loaded model. Answers wait meanwhile.
gpu-bench-prefill = Prefill over size
gpu-bench-prompt-tokens = Prompt length, tokens
gpu-cases = Cases
gpu-conformance = Conformance run
gpu-conformance-hint = Runs every kernel against its reference on the CPU.
gpu-conformance-result = { $device }: { $failed } of { $n } cases failed
gpu-error = Error
gpu-failed = Failed
gpu-in-use = In use: { $device }
gpu-kernel = Kernel
gpu-running = Running for { $seconds } s
gpu-self-test-passed = All kernels agree with their references.
gpu-variant = Variant
