"""Writes templates.json: chat templates, conversations, and the texts that transformers prints for them.

    python make.py        (needs transformers and jinja2)
"""

import json
import pathlib
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

TEMPLATES = {
    "chatml": "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "chatml-default-system": "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}\n{% for m in messages -%}\n<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}\n{%- if add_generation_prompt -%}\n<|im_start|>assistant\n{% endif %}",
    "header-ids": "{{- bos_token }}\n{%- if not date_string is defined %}\n{%- set date_string = '26 Jul 2024' %}\n{%- endif %}\n{%- if messages[0]['role'] == 'system' %}\n{%- set system_message = messages[0]['content'] | trim %}\n{%- set messages = messages[1:] %}\n{%- else %}\n{%- set system_message = '' %}\n{%- endif %}\n{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}\n{%- if tools is not none %}\n{{- 'Environment: ipython\\n' }}\n{%- endif %}\n{{- 'Today: ' + date_string + '\\n\\n' }}\n{{- system_message }}\n{{- '<|eot_id|>' }}\n{%- for message in messages %}\n{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}",
    "strftime": "{{ strftime_now('%Y') | length }} {{ strftime_now('%d %B %Y') is string }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}",
    "inst-folding": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for m in loop_messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + m['content'] %}{% else %}{% set content = m['content'] %}{% endif %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "pipe-roles": "{% for m in messages %}\n{% if m['role'] == 'user' %}\n{{ '<|user|>\n' + m['content'] + eos_token }}\n{% elif m['role'] == 'system' %}\n{{ '<|system|>\n' + m['content'] + eos_token }}\n{% elif m['role'] == 'assistant' %}\n{{ '<|assistant|>\n' + m['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "vicuna": "{{ bos_token }}{% if messages[0].role == 'system' %}{{ messages[0].content + ' ' }}{% endif %}{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}{{ 'USER: ' ~ m.content ~ ' ' }}{% else %}{{ 'ASSISTANT: ' ~ m.content ~ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
    "headers": "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}\n\n{% elif m.role == 'user' %}### Instruction:\n{{ m.content }}\n\n{% else %}### Response:\n{{ m.content }}\n\n{% endif %}{% endfor %}{% if add_generation_prompt %}### Response:\n{% endif %}",
    "model-turns": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}",
    "alternation": "{%- set ns = namespace(index=0) -%}\n{%- for m in messages %}\n{%- if m.role != 'system' %}\n{%- if (m.role == 'user') != (ns.index % 2 == 0) %}\n{{- raise_exception('alternate') }}\n{%- endif %}\n{%- set ns.index = ns.index + 1 %}\n{%- endif %}\n{%- endfor %}\n{{- bos_token }}\n{%- for m in messages %}\n{%- if m.role == 'user' %}{{- '[INST]' + m.content + '[/INST]' }}\n{%- elif m.role == 'assistant' %}{{- m.content | trim + eos_token }}\n{%- else %}{{- m.content }}\n{%- endif %}\n{%- endfor %}",
    "turn-tokens": "{{ bos_token }}{% for m in messages %}{% set name = {'user': 'USER', 'assistant': 'CHATBOT', 'system': 'SYSTEM'}[m.role] %}{{ '<|START|><|' ~ name ~ '_TOKEN|>' ~ m.content.strip() ~ '<|END|>' }}{% endfor %}{{ '<|START|><|CHATBOT_TOKEN|>' if add_generation_prompt else '' }}",
    "namespace-last": "{% set ns = namespace(last=-1, seen=false) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% set ns.seen = true %}{% endif %}{% endfor %}{% for m in messages %}{{ '*' if loop.index0 == ns.last }}{{ m.content }}|{% endfor %}{{ ns.seen }}",
    "macro": "{% macro turn(role, text, end='<|end|>') -%}\n<|{{ role }}|>{{ text }}{{ end }}\n{%- endmacro %}\n{% for m in messages %}{{ turn(m.role, m.content) }}{% endfor %}{{ turn('assistant', '', end='') }}",
    "tojson": "{{ messages | tojson }}\n{{ messages[0] | tojson(indent=2) }}\n{{ {'a': [1, 2.5, true, none, '<é>&\\'\"']} | tojson }}{{ [] | tojson(indent=4) }}",
    "loop-controls": "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ loop.index }}:{{ m.content }};{% if loop.index > 3 %}{% break %}{% endif %}{% endfor %}",
    "white-space": "  {%- for m in messages +%}\n    {{- m.role }} \n\t{% if true %}   \nx\n  {% endif -%}   \n {{ m.content -}} \n\n{%- endfor %}\n\n",
    "strips": "{% for m in messages %}[{{ m.content | trim }}][{{ m.content.rstrip() }}][{{ m.content.lstrip() }}]{% endfor %}",
    "upper": "{% for m in messages %}{{ m.role | upper }}: {{ m.content | upper }}\n{{ m.role | capitalize }} {{ m.role | title }}{% endfor %}",
    "slices": "{% for m in messages %}{{ m.content[:4] }}…{{ m.content[-3:] }}/{{ m['content'][::-1] }}\n{% endfor %}{{ messages[-1].content }}{{ messages[::2] | length }}",
    "thinking": "{% for m in messages %}{% set content = m.content %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}<|{{ m.role }}|>{{ content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}{% endif %}",
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|end|>\n{% endgeneration %}{% else %}{{ m.content }}\n{% endif %}{%- generation -%} a {%- endgeneration -%}{% endfor %}",
    "defined": "{{ tools is defined }}{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}{{ date_string is defined }}{{ tools }}{{ builtin_tools is defined }}{% if tools %}T{% endif %}{% if not documents %}D{% endif %}",
    "lists": "{{ ['a', 1, true, none, [1.0, 'b\\'c']] }}{{ {'k': 'v', 'n': {'x': 1}} }}{{ messages | map(attribute='role') | list }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ (1, 2) }}{{ 7 // 2 }}{{ 7 / 2 }}{{ 2 ** 3 }}{{ -7 % 3 }}",
    "chains": "{% for m in messages %}{{ 'a' if m.role == 'user' else 'b' if m.role == 'system' else 'c' }}{% if not not (m.role == 'user' and loop.first or loop.last) %}!{% endif %}{{ m.content | replace('e', 'E') | trim | length }}{% endfor %}",
    "filters": "{{ messages | map(attribute='content') | join(' / ') }}{{ messages[0].content | default('x') }}{{ nothing | default('d') }}{{ messages | length }}{{ messages | first | string | length > 3 }}{{ messages[0].content.startswith('B') }}{{ messages[0].get('tool_calls') }}{{ 'content' in messages[0] }}{{ messages[0].items() | list | length }}",
}

CONVERSATIONS = {
    "one": [("user", "Hello, who are you?")],
    "system": [("system", "Be brief. Ava lives in Rome."), ("user", "  Where does Ava live?\n")],
    "talk": [("system", "Sei nett & höflich <b>."), ("user", "Grüße 你好\n\nzwei"), ("assistant", "Yes: </think>\nok "), ("user", "a 'b' \"c\" \\ d\t🦙")],
}


def main():
    out = {"transformers": transformers.__version__, "templates": TEMPLATES, "conversations": {}, "texts": {}}
    for name, turns in CONVERSATIONS.items():
        out["conversations"][name] = [{"role": role, "content": content} for role, content in turns]
    for template, source in TEMPLATES.items():
        for name, messages in out["conversations"].items():
            try:
                texts, _ = render_jinja_template(
                    [messages], chat_template=source, add_generation_prompt=True, bos_token="<s>", eos_token="</s>"
                )
                text = texts[0]
            except Exception as error:
                text = {"raised": str(error)}
            out["texts"][f"{template}/{name}"] = text
    path = pathlib.Path(__file__).with_name("templates.json")
    path.write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(len(out["texts"]), "texts,", path.stat().st_size, "bytes")


main()
