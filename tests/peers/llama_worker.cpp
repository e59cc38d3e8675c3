// One measurement by llama.cpp; the command line is that of every worker (engines.py).
//
//     llama-worker cpu|vulkan MODEL.gguf CONTEXT P N RUNS THREADS LIMIT GREEDY ID,ID,...
#include "ggml-backend.h"
#include "llama.h"
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

using Tokens = std::vector<llama_token>;

// Tokens of the run that does not count.
static const int WARM_UP = 64;

static llama_context * context;
static int n_vocab;

static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Runs `tokens` behind what the cache holds, and returns the best next one.
static llama_token step(Tokens tokens) {
    if (llama_decode(context, llama_batch_get_one(tokens.data(), int32_t(tokens.size()))) != 0) exit(2);
    const float * logits = llama_get_logits_ith(context, -1);
    return llama_token(std::max_element(logits, logits + n_vocab) - logits);
}

static llama_token prefill(const Tokens & prompt) {
    llama_memory_clear(llama_get_memory(context), true);
    return step(prompt);
}

static void list(const char * name, const std::vector<double> & values) {
    printf("\"%s\": [", name);
    for (size_t i = 0; i < values.size(); i++) printf("%s%.9g", i ? ", " : "", values[i]);
    printf("], ");
}

int main(int argc, char ** argv) {
    if (argc != 11) {
        fprintf(stderr, "usage: llama-worker cpu|vulkan MODEL.gguf CONTEXT P N RUNS THREADS LIMIT GREEDY ID,ID,...\n");
        return 2;
    }
    const bool cpu = std::string(argv[1]) == "cpu";
    const int n_ctx = atoi(argv[3]), n = atoi(argv[5]), runs = atoi(argv[6]), threads = atoi(argv[7]), n_greedy = atoi(argv[9]);
    const double limit = atof(argv[8]);
    int p = atoi(argv[4]), n_decoded = n;
    Tokens ids;
    std::stringstream given(argv[10]);
    for (std::string id; std::getline(given, id, ',');) ids.push_back(atoi(id.c_str()));

    const double start = now();
    llama_log_set([](ggml_log_level level, const char * text, void *) {
        if (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
    }, nullptr);
    llama_backend_init();
    // A Vulkan build sends large batches to the device even with no layer on it, unless there is no device.
    std::string device = "CPU";
    for (size_t i = 0; !cpu && i < ggml_backend_dev_count(); i++) {
        auto * candidate = ggml_backend_dev_get(i);
        if (ggml_backend_dev_type(candidate) != GGML_BACKEND_DEVICE_TYPE_CPU) {
            device = ggml_backend_dev_description(candidate);
            break;
        }
    }
    if (!cpu && device == "CPU") {
        fprintf(stderr, "llama.cpp sees no Vulkan device; is GGML_VK_VISIBLE_DEVICES set?\n");
        return 3;
    }
    ggml_backend_dev_t none[] = {nullptr};
    auto model_params = llama_model_default_params();
    if (cpu) model_params.devices = none;
    model_params.n_gpu_layers = cpu ? 0 : 999;
    llama_model * model = llama_model_load_from_file(argv[2], model_params);
    if (!model) return 2;
    auto params = llama_context_default_params();
    params.n_ctx = uint32_t(n_ctx);
    params.n_batch = params.n_ubatch = 512;
    params.n_threads = params.n_threads_batch = threads;
    context = llama_init_from_model(model, params);
    if (!context) return 2;
    n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    const double load = now() - start;

    Tokens prompt(p);
    for (int i = 0; i < p; i++) prompt[i] = (100 + 7 * i) % n_vocab;
    if (runs > 0) {
        // A Vulkan device compiles its shaders in the first run, so that the estimate is of a second.
        const Tokens start(prompt.begin(), prompt.begin() + std::min(p, WARM_UP));
        step({prefill(start)});
        const double begin = now();
        prefill(start);
        const double took = (now() - begin) / double(start.size());
        if (took * p > limit) p = std::min(p, std::max(WARM_UP, int(limit / took) / WARM_UP * WARM_UP));
        prompt.resize(p);
    }
    std::vector<double> prefill_rates, decode_rates;
    for (int run = 0; run < runs; run++) {
        const double begin = now();
        llama_token last = prefill(prompt);
        const double middle = now();
        int steps = 0;
        for (; steps < n && (steps == 0 || now() - middle < limit); steps++) last = step({last});
        prefill_rates.push_back(p / (middle - begin));
        if (n > 0) decode_rates.push_back(steps / (now() - middle));
        n_decoded = std::min(n_decoded, steps);
    }
    Tokens greedy;
    const double begin = now();
    if (n_greedy > 0) greedy = {prefill(ids)};
    while (int(greedy.size()) < n_greedy && now() - begin < limit) greedy.push_back(step({greedy.back()}));

    printf("{\"load_s\": %.4f, ", load);
    list("prefill", prefill_rates);
    list("decode", decode_rates);
    std::string name;
    for (char c : device) name += c == '"' || c == '\\' || uint8_t(c) < 32 ? ' ' : c;
    printf("\"prefill_tokens\": %d, \"decode_tokens\": %d, \"device\": \"%s\", \"greedy\": [", p, n_decoded, name.c_str());
    for (size_t i = 0; i < greedy.size(); i++) printf("%s%d", i ? ", " : "", greedy[i]);
    printf("]}\n");
    fflush(stdout);
    llama_free(context);
    llama_model_free(model);
}
