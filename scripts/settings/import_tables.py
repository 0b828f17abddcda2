"""What other tools' configs hold, as tables: how a file is recognised, keys without a meaning here,
and what a tool does when a key is missing from its file.

Sources: the argument list of the older popup scripts, the LoRA tab of the kohya_ss GUI, and the
argument parsers of sd-scripts' train_network, as they were early in 2026.
"""

from __future__ import annotations

POPUP_MARKS = {"base_model", "img_folder", "output_folder", "change_output_name", "net_dim",
               "train_resolution", "num_epochs", "list_of_json_to_run"}  # fmt: skip
GUI_MARKS = {"LoRA_type", "lr_warmup", "max_resolution", "stop_text_encoder_training",
             "lora_network_weights", "additional_parameters", "LyCORIS_preset"}  # fmt: skip

_OLD_FILES = "it told the older tool where its own config files lie; the queue does that here."
_NOWHERE = "nothing is sent to other computers here."
_SECRET = "it is a secret, and nothing is sent to other computers here; delete it from the file."
_STATES = "saved states are kept and removed together with their LoRAs."
_NO_EFFECT = "it has no effect on a LoRA there either."
_PROCESSES = "processes and devices are chosen when the training is started."
_OTHER_MODELS = "it is for kinds of models that are not trained here."
# Keys that only the import meets, beside `train_reading.NOT_NEEDED`, and why they are left behind.
LEFT_BEHIND = {
    **dict.fromkeys(("list_of_json_to_run", "save_json_folder", "save_json_name", "save_json_only",
                     "load_json_path", "multi_run_folder", "json_load_skip_list"), _OLD_FILES),
    **dict.fromkeys(("wandb_api_key", "huggingface_token"), _SECRET),
    **dict.fromkeys(("use_wandb", "wandb_run_name", "log_tracker_config", "log_config",
                     "huggingface_repo_id", "huggingface_repo_type", "huggingface_path_in_repo",
                     "huggingface_repo_visibility", "save_state_to_huggingface", "async_upload",
                     "resume_from_huggingface"), _NOWHERE),
    **dict.fromkeys(("save_last_n_epochs_state", "save_last_n_steps_state"), _STATES),
    **dict.fromkeys(("stop_text_encoder_training", "no_token_padding"), _NO_EFFECT),
    **dict.fromkeys(("multi_gpu", "gpu_ids", "main_process_port", "extra_accelerate_launch_args",
                     "dynamo_backend", "dynamo_mode", "dynamo_use_dynamic",
                     "dynamo_use_fullgraph", "training_preset"), _PROCESSES),
    **dict.fromkeys(("t5xxl", "t5xxl_lr", "t5xxl_max_token_length", "clip_l", "clip_g", "ae",
                     "guidance_scale", "discrete_flow_shift", "model_prediction_type",
                     "timestep_sampling", "weighting_scheme", "logit_mean", "logit_std",
                     "mode_scale", "apply_t5_attn_mask", "split_mode", "train_blocks",
                     "single_blocks_to_swap", "double_blocks_to_swap", "blocks_to_swap",
                     "flux1_cache_text_encoder_outputs", "flux1_checkbox", "sd3_checkbox",
                     "sd3_cache_text_encoder_outputs", "flux_fused_backward_pass",
                     "flux1_t5xxl", "flux1_clip_l", "enable_all_linear", "split_qkv",
                     "train_t5xxl", "cpu_offload_checkpointing", "loraplus_text_encoder_lr_ratio",
                     "mem_eff_save", "sigmoid_scale"), _OTHER_MODELS),
    "face_crop_aug_range": "cropping around faces is not built in; the middle is used.",
    "full_fp16": "the LoRA is always trained in full precision, which is steadier.",
    "save_as_bool": "it is a button of the GUI.",
}  # fmt: skip
LYCORIS_ONLY = {
    "use_cp", "use_tucker", "use_scalar", "train_norm", "dora_wd", "bypass_mode", "decompose_both",
    "constrain", "rescaled", "train_on_input", "rank_dropout_scale", "block_size",
}  # fmt: skip

# What a tool does when its file does not say otherwise, where that makes another LoRA.
POPUP_DEFAULTS = {
    "net_dim": 32, "alpha": 16, "optimizer_type": "AdamW8bit", "scheduler": "cosine",
    "learning_rate": 1e-4, "train_resolution": 512, "clip_skip": 2, "batch_size": 1,
    "min_bucket_resolution": 320, "max_bucket_resolution": 960, "max_clip_token_length": 150,
    "mixed_precision": "fp16", "num_epochs": 1,
    "optimizer_args": {"weight_decay": "0.1", "betas": "0.9,0.99"},
}  # fmt: skip
SD_SCRIPTS_DEFAULTS = {
    "network_dim": 4, "network_alpha": 1, "optimizer_type": "AdamW", "lr_scheduler": "constant",
    "learning_rate": 2e-6, "enable_bucket": False, "max_bucket_reso": 1024,
}  # fmt: skip
