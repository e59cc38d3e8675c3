"""Makes the fixtures of this folder with transformers and PyTorch: `python make.py`.

processors.json: logits processors alone and chained, on vectors with ties, a mask and large values.
beam.json: beam search on a model that is a table (a token's logits depend on the token before it and on the position's
parity), with several EOS ids, each early_stopping, and length penalties of both signs.
"""
import json
import os

import torch
import transformers
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.generation import logits_process as lp
from transformers.modeling_outputs import CausalLMOutputWithPast

HERE = os.path.dirname(os.path.abspath(__file__))
REFERENCE = {"transformers": transformers.__version__, "torch": torch.__version__, "dtype": "float32"}


def write(name, data):
    with open(os.path.join(HERE, name), "w") as file:
        json.dump(data, file, separators=(",", ":"))
        file.write("\n")


def processors():
    generator = torch.Generator().manual_seed(1)
    size = 24
    gauss = lambda scale: [round(v, 3) for v in (torch.randn(size, generator=generator) * scale).tolist()]
    ties = [float(round(v)) for v in gauss(2)]
    masked = [v if i % 3 else None for i, v in enumerate(gauss(3))]
    logits = {"gauss": gauss(3), "large": gauss(60), "flat": gauss(0.1), "ties": ties, "masked": masked}
    history = [3, 7, 11, 3, 7, 5, 3]
    make = {
        "repetition_penalty": lp.RepetitionPenaltyLogitsProcessor,
        "no_repeat_ngram": lp.NoRepeatNGramLogitsProcessor,
        "temperature": lp.TemperatureLogitsWarper,
        "top_k": lp.TopKLogitsWarper,
        "top_p": lp.TopPLogitsWarper,
        "min_p": lp.MinPLogitsWarper,
        "typical_p": lp.TypicalLogitsWarper,
    }
    chains = [[("repetition_penalty", v)] for v in (1.07, 1.5, 0.7)]
    chains += [[("no_repeat_ngram", v)] for v in (1, 2, 3)]
    chains += [[("temperature", v)] for v in (0.5, 1.7)]
    chains += [[("top_k", v)] for v in (1, 5, 24)]
    chains += [[("top_p", v)] for v in (0.05, 0.6, 0.9, 0.99)]
    chains += [[("min_p", v)] for v in (0.05, 0.6)]
    chains += [[("typical_p", v)] for v in (0.2, 0.8, 0.97)]
    chains.append([("repetition_penalty", 1.07), ("temperature", 0.5), ("top_k", 30), ("top_p", 0.75)])
    chains.append([("repetition_penalty", 1.3), ("no_repeat_ngram", 2), ("temperature", 1.4), ("top_k", 12),
                   ("top_p", 0.95), ("min_p", 0.02), ("typical_p", 0.93)])
    cases = []
    for name, values in logits.items():
        for chain in chains:
            scores = torch.tensor([[float("-inf") if v is None else v for v in values]])
            for processor, value in chain:
                scores = make[processor](value)(torch.tensor([history]), scores)
            probs = scores[0].double().softmax(-1).tolist()
            scores = scores[0].tolist()
            kept = [i for i, v in enumerate(scores) if v != float("-inf")]
            cases.append({
                "logits": name,
                "chain": [{"name": n, "value": v} for n, v in chain],
                "kept": kept,
                "scores": [float(f"{v:.7g}") if v != float("-inf") else None for v in scores],
                "probs": [float(f"{v:.6g}") for v in probs],
            })
    write("processors.json", {"reference": REFERENCE, "history": history, "logits": logits, "cases": cases})


class TableConfig(PretrainedConfig):
    model_type = "table"


class Table(PreTrainedModel, GenerationMixin):
    config_class = TableConfig
    _supports_cache_class = False

    def __init__(self, config, table):
        super().__init__(config)
        self.table = torch.nn.Parameter(table)
        self.post_init()

    def _init_weights(self, module):
        pass

    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        return {"input_ids": input_ids}

    def forward(self, input_ids, attention_mask=None, **kwargs):
        parity = (input_ids.shape[1] - 1) % 2
        return CausalLMOutputWithPast(logits=self.table[parity][input_ids])


def beam():
    size = 14
    generator = torch.Generator().manual_seed(2)
    table = (torch.randn(2, size, size, generator=generator) * 2).mul(1000).round().div(1000)
    config = TableConfig(vocab_size=size)
    config.is_encoder_decoder = False
    model = Table(config, table).eval()
    cases = []
    for eos in ([], [3], [3, 8], [1, 4, 9]):
        for early in (False, True, "never"):
            for penalty in (1.0, 0.0, 2.5, -1.0):
                for extra in ({}, {"repetition_penalty": 1.3}, {"no_repeat_ngram_size": 2}):
                    beams = 2 + len(cases) % 4
                    prompt = [(5 * len(cases) + 1) % size, (3 * len(cases)) % size]
                    params = {"num_beams": beams, "num_return_sequences": beams, "max_new_tokens": 5 + len(cases) % 6,
                              "length_penalty": penalty, "early_stopping": early, "eos_token_id": eos, **extra}
                    generation = GenerationConfig(**{**params, "eos_token_id": eos or None}, pad_token_id=0,
                                                  use_cache=False, do_sample=False, output_scores=True,
                                                  return_dict_in_generate=True)
                    out = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, 2, dtype=torch.long),
                                         generation_config=generation)
                    sequences = []
                    for row in out.sequences[:, 2:].tolist():
                        ends = [i for i, token in enumerate(row) if token in eos]
                        sequences.append(row[: ends[0] + 1] if ends else row)
                    cases.append({"prompt_ids": prompt, "params": params, "sequences": sequences,
                                  "sequences_scores": [float(f"{v:.6g}") for v in out.sequences_scores.tolist()]})
    write("beam.json", {"reference": REFERENCE, "table": table.tolist(), "cases": cases})


if __name__ == "__main__":
    torch.manual_seed(0)
    processors()
    beam()
