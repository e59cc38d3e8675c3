# The GPU page.

gpu-adapter = Adapter
gpu-adapter-best = The best there is
gpu-adapters = Adapters
gpu-backend = Backend
gpu-bench = Bench
gpu-bench-context = Context length, tokens
gpu-bench-decode = Decode over context
gpu-bench-hint = Measures the loaded model. Answers wait meanwhile.
gpu-bench-none = Nothing has been measured yet.
gpu-bench-prefill = Prefill over size
gpu-bench-prompt-tokens = Prompt length, tokens
gpu-bench-run = Run the bench
gpu-cases = Cases
gpu-conformance = Conformance run
gpu-conformance-hint = Runs every kernel against its reference on the CPU.
gpu-conformance-result = { $device }: { $failed } of { $n } cases failed
gpu-conformance-run = Start the conformance run
gpu-driver = Driver
gpu-error = Error
gpu-failed = Failed
gpu-features = Features
gpu-history = History
gpu-in-use = In use: { $device }
gpu-kernel = Kernel
gpu-memory = Memory
gpu-none = No adapters were found.
gpu-passed = Passed
gpu-running = Running for { $seconds } s
gpu-self-test = Self-test
gpu-self-test-fallbacks =
    { $n ->
        [one] { $n } kernel falls back
       *[other] { $n } kernels fall back
    }
gpu-self-test-passed = All kernels agree with their references.
gpu-skipped = Skipped
gpu-software = Software adapter
gpu-speed = Speed, tok/s
gpu-use = Use
gpu-variant = Variant
