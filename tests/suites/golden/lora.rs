//! LoRA adapters over their bases, against PEFT's merge in fp32; and over quantised bases, where they are multiplied beside.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use guanaco_engine::file::{Checkpoint, Dtype, NewTensor, SafetensorsWriter};
use guanaco_engine::kernels::Rng;
use guanaco_engine::model::Config;
use guanaco_engine::weights::Lora;
use guanaco_tests::device::{load, load_with, relative_l2, run};
use guanaco_tests::{Outcome, Suite, model_in, workspace};

use super::{LIMIT, check_logits, golden, name, twin};

pub(super) fn add(suite: &mut Suite, dir: PathBuf) {
    let title = format!("golden/{}", name(&dir));
    let merged = dir.clone();
    suite.case(format!("{title}: merged, logits and greedy tokens"), move || {
        check_logits(&mut load_with(&base(&merged)?, &[(&merged, 1.0)], 1)?, &merged, LIMIT)
    });
    let halves = dir.clone();
    suite.case(format!("{title}: in two halves"), move || {
        check_logits(&mut load_with(&base(&halves)?, &[(&halves, 0.25), (&halves, 0.75)], 1)?, &halves, LIMIT)
    });
    let gguf = dir.clone();
    suite.case(format!("{title}: merged into GGUF's fp16"), move || {
        let base = model_in(&gguf.with_file_name("gguf_f16"));
        check_logits(&mut load_with(&base, &[(&gguf, 1.0)], 1)?, &gguf, LIMIT)
    });
    let q8 = dir.clone();
    suite.case(format!("{title}: beside Q8_0"), move || {
        // What is multiplied beside equals what `guanaco convert` merges into the fp16 twin.
        let base = model_in(&q8.with_file_name("gguf_q8_0"));
        let prompt = &golden(&q8)?.cases[1].prompt_ids;
        let beside = run(&mut load_with(&base, &[(&q8, 1.0)], 1)?, 0, prompt)?;
        let folder = twin(&base, &[Lora::open(&q8, 1.0)?])?;
        let merged = run(&mut load(folder.path(), 1)?, 0, prompt)?;
        let error = relative_l2(&beside, &merged);
        ensure!(error < 3e-3, "beside and merged differ by {error:.3e}");
        println!("beside and merged differ by {error:.1e}");
        Ok(())
    });
    // Of the GPTQ fixtures this one has the shapes of the LoRAs that leave the MLP alone.
    if name(&dir) == "lora_qkvo" {
        suite.case(format!("{title}: beside GPTQ"), move || beside(&dir, "gptq_4bit_128g"));
    }
}

fn base(dir: &Path) -> anyhow::Result<PathBuf> {
    let base = golden(dir)?.base.context("the fixture names no base")?;
    Ok(dir.join(base))
}

/// Over a quantised base the LoRA moves the logits as far as it moves those of its own base, about; and not at all with the
/// weight 0.
fn beside(dir: &Path, quantised: &str) -> Outcome {
    let base = dir.with_file_name(quantised);
    let prompt = &golden(&base)?.cases[1].prompt_ids;
    let plain = run(&mut load(&base, 1)?, 0, prompt)?;
    let nothing = run(&mut load_with(&base, &[(dir, 0.0)], 1)?, 0, prompt)?;
    ensure!(relative_l2(&nothing, &plain) == 0.0, "with the weight 0 the logits move");
    let mut model = load_with(&base, &[(dir, 1.0)], 1)?;
    let whole = run(&mut model, 0, prompt)?;
    ensure!(relative_l2(&whole, &plain) > 0.05, "the LoRA changes nothing");
    let mut single = Vec::new();
    for (pos, token) in prompt.iter().enumerate() {
        single = run(&mut model, pos, &[*token])?;
    }
    let error = relative_l2(&single, &whole);
    ensure!(error < 2e-3, "decode and prefill differ by {error:.3e}");
    Ok(())
}

/// A LoRA that the suite makes, over the embedded model: what the device merges equals what `guanaco convert` merges on the CPU,
/// with a pair on two projections, one on the embedding, and a whole head.
pub(super) fn add_built(suite: &mut Suite) {
    suite.case("built LoRA: merged on the device and on the CPU", || {
        let base = workspace().join("app").join("tiny-guanaco");
        let config = Config::load(&Checkpoint::open(&base)?)?;
        let folder = tempfile::tempdir()?;
        let (rank, kv) = (3, config.n_kv_heads * config.head_dim);
        let module = "base_model.model.model";
        let shapes = [
            (format!("{module}.layers.1.self_attn.v_proj.lora_A.weight"), vec![rank, config.dim]),
            (format!("{module}.layers.1.self_attn.v_proj.lora_B.weight"), vec![kv, rank]),
            (format!("{module}.layers.0.mlp.down_proj.lora_A.weight"), vec![rank, config.hidden_dim]),
            (format!("{module}.layers.0.mlp.down_proj.lora_B.weight"), vec![config.dim, rank]),
            (format!("{module}.embed_tokens.lora_embedding_A"), vec![rank, config.vocab_size]),
            (format!("{module}.embed_tokens.lora_embedding_B"), vec![config.dim, rank]),
            ("base_model.model.lm_head.modules_to_save.weight".to_owned(), vec![config.vocab_size, config.dim]),
        ];
        let new = |(name, shape): &(String, Vec<usize>)| NewTensor {
            name: name.clone(),
            dtype: Dtype::F32,
            shape: shape.clone(),
        };
        let tensors: Vec<NewTensor> = shapes.iter().map(new).collect();
        let mut writer = SafetensorsWriter::create(&folder.path().join("adapter_model.safetensors"), &tensors)?;
        let mut rng = Rng::new(7);
        for tensor in &tensors {
            let values = rng.values(tensor.shape.iter().product(), 0.05);
            writer.write(bytemuck::cast_slice(&values))?;
        }
        writer.finish()?;
        let text = r#"{"peft_type":"LORA","r":3,"lora_alpha":12,"modules_to_save":["lm_head"]}"#;
        std::fs::write(folder.path().join("adapter_config.json"), text)?;

        let prompt = [1, 5, 39, 7, 12, 100, 3];
        let plain = run(&mut load(&base, 1)?, 0, &prompt)?;
        let device = run(&mut load_with(&base, &[(folder.path(), 0.7)], 1)?, 0, &prompt)?;
        let merged = twin(&base, &[Lora::open(folder.path(), 0.7)?])?;
        let cpu = run(&mut load(merged.path(), 1)?, 0, &prompt)?;
        let (error, moved) = (relative_l2(&device, &cpu), relative_l2(&device, &plain));
        ensure!(moved > 0.1, "the LoRA moves the logits by {moved:.2e} only");
        ensure!(error < 1e-3, "device and CPU differ by {error:.3e}");
        println!("moved by {moved:.2}, device and CPU differ by {error:.1e}");
        Ok(())
    });
}
