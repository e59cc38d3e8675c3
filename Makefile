# Two commands do everything, set-up included: `make demo` and `make test`.
.POSIX:
# Mesa's device-select layer asks the desktop which GPU it prefers, and complains on stderr where there is none. The engine
# orders adapters itself.
export NODEVICE_SELECT = 1

.PHONY: demo test adapters eval fuzz check-targets check-shaders-tint

# Opens the window; without a display talks in the terminal, and without a terminal plays a scripted conversation.
demo:
	@scripts/setup demo
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || [ "$$(uname)" = Darwin ]; then cargo run --release -p guanaco; \
	elif [ -t 0 ] && [ -t 1 ]; then cargo run --release -p guanaco -- chat; \
	else cargo run --release -p guanaco -- demo; fi

# Every test, on every Vulkan driver that this machine has or can fetch.
test:
	@scripts/setup test
	@scripts/adapters
	@scripts/models
	@scripts/test

# The embedded model on its held-out dialogues: exact match for each skill and language, at least 90 % in each.
eval:
	@cargo run --release -p guanaco -- eval dialogues tests/data/tiny-guanaco/heldout.jsonl --min 90

# Everything that reads a file, on more than ten million inputs (see scripts/fuzz); takes half an hour, and is not part of `test`.
fuzz:
	@scripts/fuzz

# Only fetches the additional software drivers (see scripts/adapters).
adapters:
	@scripts/adapters

# Type-checks the workspace for macOS and Windows from Linux.
check-targets:
	@scripts/check-targets

# Compiles every shader with Tint, a second WGSL compiler.
check-shaders-tint:
	@scripts/check-shaders-tint
