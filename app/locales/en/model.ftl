# The model page, and the line on the model above every page.

model-choose-file = Choose a file…
model-choose-folder = Choose a folder…
model-choose-lora = Choose a LoRA’s folder…
model-context = Context
model-context-hint = Tokens of prompt and answer together. More takes more memory for the cache.
model-details = All that the files say
model-device-lost = The graphics device was lost and set up again; the chat is intact. ({ $reason })
model-drop-hint = Drop a model’s folder or GGUF file here
model-embedded = Built-in tiny model
model-fallbacks =
    { $n ->
        [one] { $n } kernel runs on its portable baseline
       *[other] { $n } kernels run on their portable baseline
    }
model-format = Format
model-hub-cache = Hugging Face cache
model-kv-int8 = Keep the cache in 8 bits
model-kv-int8-hint = Halves the memory of the cache, at a small loss of precision.
model-layers = Layers
model-load = Load
model-loading = Loading { $name }
model-lora-add = Add a LoRA
model-lora-folder = Folder of a LoRA
model-lora-weight = Weight
model-loras = LoRA
model-loras-hint = Small fine-tunings that are laid over the model, each with a weight of its own.
model-memory = Memory plan: { $total }
model-memory-bar = Memory that the model takes
model-memory-cache = KV cache
model-memory-free = { $free } free
model-memory-scratch = Scratch
model-memory-staging = While loading
model-memory-too-little = This does not fit. Choose a smaller context, an 8-bit cache or a smaller model.
model-memory-weights = Weights
model-name = Model
model-no-tokenizer = There is no tokenizer beside these weights: put the model’s tokenizer.json into the same folder.
model-none = No model is loaded
model-not-loaded = Guanaco ended while it was loading { $name }, so it does not load it again by itself. “Load” tries it once more; or choose another model here, or another adapter on the GPU page.
model-parameters = Parameters
model-path = Folder or GGUF file
model-path-hint = Where it lies, or drop it on the window
model-reading = Reading { $name }
model-ready = { $name } on { $device }
model-rope-files = As the model’s files say
model-rope-scaling = RoPE scaling
model-rope-scaling-hint = Stretches positions, for contexts longer than the model was trained on.
model-software = Software rendering: no GPU is used, so it is slow
model-trained-context = Trained context
model-vocabulary = Vocabulary
