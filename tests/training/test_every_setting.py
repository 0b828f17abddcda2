"""Every setting of the training has a test that it changes what it should: which one."""

import ast
from pathlib import Path

import pytest

from scripts.core.declare import declarations
from scripts.settings.train import TrainSettings

HERE = Path(__file__).parent
MODEL, DATA, CAPTIONS, NETWORK, OPTIMISER, LOSS, MEMORY, RESULT = (
    f"test_settings_{part}"
    for part in ("model", "data", "captions", "network", "optimiser", "loss", "memory", "result")
)
SETTING_TESTS = {
    "pretrained_model_name_or_path": (
        MODEL, "test_the_base_model_decides_names_and_says_who_it_is",
    ),
    "vae": (MODEL, "test_a_vae_of_its_own_takes_the_place_of_the_model_s"),
    "v2": (MODEL, "test_v2_is_found_from_the_file_and_must_not_say_otherwise"),
    "v_parameterization": (LOSS, "test_v_parameterization_makes_velocity_the_target"),
    "clip_skip": (CAPTIONS, "test_clip_skip_takes_an_earlier_layer_and_the_final_norm"),
    "max_token_length": (CAPTIONS, "test_longer_captions_are_read_in_windows"),
    "network_weights": (MODEL, "test_a_lora_to_go_on_from_gives_the_first_weights"),
    "dim_from_weights": (MODEL, "test_dim_from_weights_takes_the_sizes_of_that_lora"),
    "train_data_dir": (DATA, "test_train_data_dir_is_where_the_pictures_are"),
    "reg_data_dir": (LOSS, "test_prior_loss_weight_counts_regularisation_pictures"),
    "dataset_config": (DATA, "test_a_dataset_file_rules_batches_sizes_and_repeats"),
    "folder_repeats": (
        DATA, "test_the_repeats_of_a_folder_come_from_its_name_or_from_folder_repeats",
    ),
    "resolution": (DATA, "test_resolution_is_the_size_trained_at"),
    "enable_bucket": (DATA, "test_buckets_keep_shapes_and_without_them_all_are_cut_to_one"),
    "min_bucket_reso": (DATA, "test_limits_and_step_of_the_buckets"),
    "max_bucket_reso": (DATA, "test_limits_and_step_of_the_buckets"),
    "bucket_reso_steps": (DATA, "test_limits_and_step_of_the_buckets"),
    "bucket_no_upscale": (DATA, "test_small_pictures_keep_their_size_when_asked_to"),
    "caption_extension": (CAPTIONS, "test_captions_come_from_files_of_the_given_ending"),
    "shuffle_caption": (CAPTIONS, "test_prefix_suffix_shuffle_and_kept_tags"),
    "keep_tokens": (CAPTIONS, "test_prefix_suffix_shuffle_and_kept_tags"),
    "caption_prefix": (
        CAPTIONS, "test_without_shuffling_prefix_and_suffix_stand_around_the_caption",
    ),
    "caption_suffix": (
        CAPTIONS, "test_without_shuffling_prefix_and_suffix_stand_around_the_caption",
    ),
    "caption_dropout_rate": (CAPTIONS, "test_caption_dropout_rate_drops_whole_captions"),
    "caption_dropout_every_n_epochs": (CAPTIONS, "test_every_second_epoch_without_captions"),
    "caption_tag_dropout_rate": (CAPTIONS, "test_tag_dropout_drops_all_but_the_kept_tags"),
    "token_warmup_min": (CAPTIONS, "test_token_warm_up_adds_tags_step_by_step"),
    "token_warmup_step": (CAPTIONS, "test_token_warm_up_adds_tags_step_by_step"),
    "weighted_captions": (CAPTIONS, "test_weights_in_captions_weigh_their_words"),
    "flip_aug": (DATA, "test_mirrored_pictures_are_encoded_as_such"),
    "color_aug": (DATA, "test_colours_vary_and_turn_the_cache_off"),
    "random_crop": (DATA, "test_random_crops_are_cut_from_different_places"),
    "masked_loss": (DATA, "test_transparency_is_the_mask_of_the_loss"),
    "conditioning_data_dir": (DATA, "test_masks_may_come_from_a_folder"),
    "cache_latents": (DATA, "test_cached_and_fresh_latents_are_the_same"),
    "cache_latents_to_disk": (
        DATA, "test_a_cache_that_is_kept_spares_the_next_training_the_encoding",
    ),
    "network_dim": (NETWORK, "test_dim_and_alpha_are_in_every_layer"),
    "network_alpha": (NETWORK, "test_dim_and_alpha_are_in_every_layer"),
    "conv_dim": (NETWORK, "test_conv_dim_adds_the_wide_convolutions_with_sizes_of_their_own"),
    "conv_alpha": (NETWORK, "test_conv_dim_adds_the_wide_convolutions_with_sizes_of_their_own"),
    "network_dropout": (
        NETWORK, "test_network_dropout_leaves_out_its_share_of_the_inner_values",
    ),
    "rank_dropout": (NETWORK, "test_rank_dropout_leaves_out_whole_ranks"),
    "module_dropout": (NETWORK, "test_module_dropout_leaves_out_whole_layers"),
    "network_train_unet_only": (NETWORK, "test_u_net_only"),
    "network_train_text_encoder_only": (NETWORK, "test_text_encoder_only"),
    "scale_weight_norms": (NETWORK, "test_scale_weight_norms_is_a_ceiling_for_every_layer"),
    "down_lr_weight": (NETWORK, "test_block_weights_multiply_the_rates_and_leave_blocks_out"),
    "mid_lr_weight": (NETWORK, "test_block_weights_multiply_the_rates_and_leave_blocks_out"),
    "up_lr_weight": (NETWORK, "test_block_weights_multiply_the_rates_and_leave_blocks_out"),
    "block_lr_zero_threshold": (
        NETWORK, "test_block_weights_multiply_the_rates_and_leave_blocks_out",
    ),
    "block_dims": (NETWORK, "test_blocks_have_dims_and_alphas_of_their_own"),
    "block_alphas": (NETWORK, "test_blocks_have_dims_and_alphas_of_their_own"),
    "conv_block_dims": (NETWORK, "test_blocks_have_dims_and_alphas_of_their_own"),
    "conv_block_alphas": (NETWORK, "test_blocks_have_dims_and_alphas_of_their_own"),
    "train_batch_size": (OPTIMISER, "test_batch_size_steps_and_epochs"),
    "max_train_steps": (OPTIMISER, "test_batch_size_steps_and_epochs"),
    "max_train_epochs": (OPTIMISER, "test_batch_size_steps_and_epochs"),
    "gradient_accumulation_steps": (
        OPTIMISER, "test_accumulated_batches_move_as_far_as_one_large_batch",
    ),
    "seed": (OPTIMISER, "test_another_seed_draws_other_weights_noise_and_order"),
    "optimizer_type": (OPTIMISER, "test_the_optimizer_named_is_the_one_used"),
    "optimizer_args": (OPTIMISER, "test_optimizer_args_reach_the_optimizer"),
    "learning_rate": (
        OPTIMISER, "test_each_part_has_its_own_learning_rate_or_the_common_one",
    ),
    "unet_lr": (OPTIMISER, "test_a_rate_of_zero_leaves_its_part_out"),
    "text_encoder_lr": (OPTIMISER, "test_a_rate_of_zero_leaves_its_part_out"),
    "lr_scheduler": (OPTIMISER, "test_every_step_is_taken_with_the_rate_of_the_formula"),
    "lr_warmup_steps": (OPTIMISER, "test_a_rate_of_zero_in_the_warm_up_moves_nothing"),
    "lr_decay_steps": (OPTIMISER, "test_every_step_is_taken_with_the_rate_of_the_formula"),
    "lr_scheduler_num_cycles": (
        OPTIMISER, "test_every_step_is_taken_with_the_rate_of_the_formula",
    ),
    "lr_scheduler_power": (OPTIMISER, "test_every_step_is_taken_with_the_rate_of_the_formula"),
    "lr_scheduler_timescale": (
        OPTIMISER, "test_the_planned_rates_follow_the_formula_of_the_schedule",
    ),
    "lr_scheduler_min_lr_ratio": (
        OPTIMISER, "test_every_step_is_taken_with_the_rate_of_the_formula",
    ),
    "lr_scheduler_args": (
        OPTIMISER, "test_the_planned_rates_follow_the_formula_of_the_schedule",
    ),
    "max_grad_norm": (OPTIMISER, "test_max_grad_norm_limits_the_whole_gradient"),
    "zero_terminal_snr": (LOSS, "test_zero_terminal_snr_ends_in_pure_noise"),
    "noise_offset": (LOSS, "test_noise_offset_moves_every_channel_by_one_number"),
    "adaptive_noise_scale": (LOSS, "test_adaptive_noise_scale_adds_a_share_of_the_mean_latent"),
    "multires_noise_iterations": (
        LOSS, "test_multires_noise_adds_coarser_noise_with_its_discount",
    ),
    "multires_noise_discount": (
        LOSS, "test_multires_noise_adds_coarser_noise_with_its_discount",
    ),
    "ip_noise_gamma": (LOSS, "test_ip_noise_gamma_perturbs_the_input_alone"),
    "min_snr_gamma": (LOSS, "test_min_snr_gamma"),
    "scale_v_pred_loss_like_noise_pred": (LOSS, "test_a_v_loss_scaled_like_a_noise_loss"),
    "v_pred_like_loss": (LOSS, "test_v_pred_like_loss"),
    "debiased_estimation_loss": (LOSS, "test_debiased_estimation"),
    "loss_type": (LOSS, "test_huber_losses_with_their_schedules"),
    "huber_schedule": (LOSS, "test_huber_losses_with_their_schedules"),
    "huber_c": (LOSS, "test_huber_losses_with_their_schedules"),
    "huber_scale": (LOSS, "test_huber_losses_with_their_schedules"),
    "prior_loss_weight": (LOSS, "test_prior_loss_weight_counts_regularisation_pictures"),
    "min_timestep": (LOSS, "test_timesteps_stay_between_the_first_and_the_last"),
    "max_timestep": (LOSS, "test_timesteps_stay_between_the_first_and_the_last"),
    "mixed_precision": (
        MEMORY, "test_bf16_autocast_computes_in_bf16_and_keeps_the_lora_in_float32",
    ),
    "full_bf16": (MEMORY, "test_full_bf16_keeps_the_lora_in_bf16_too"),
    "gradient_checkpointing": (
        MEMORY, "test_gradient_checkpointing_is_on_and_gives_the_same_lora",
    ),
    "sdpa": (MEMORY, "test_attention_is_always_sdpa"),
    "fp8_base": (MEMORY, "test_a_base_in_fp8_trains_nearly_the_same_lora"),
    "lowram": (DATA, "test_lowram_reads_one_picture_at_a_time"),
    "output_dir": (RESULT, "test_the_lora_is_where_and_what_it_was_called"),
    "output_name": (RESULT, "test_the_lora_is_where_and_what_it_was_called"),
    "save_precision": (RESULT, "test_save_precision_is_the_type_of_every_tensor"),
    "save_model_as": (
        RESULT, "test_other_kinds_of_file_hold_the_same_and_nothing_but_weights",
    ),
    "save_every_n_epochs": (RESULT, "test_saves_on_the_way"),
    "save_every_n_steps": (RESULT, "test_saves_on_the_way"),
    "save_n_epoch_ratio": (RESULT, "test_saves_on_the_way"),
    "save_last_n_epochs": (RESULT, "test_saves_on_the_way"),
    "save_last_n_steps": (RESULT, "test_saves_on_the_way"),
    "save_state": (RESULT, "test_a_state_is_saved_and_gone_on_from"),
    "resume": (RESULT, "test_a_state_is_saved_and_gone_on_from"),
    "logging_dir": (RESULT, "test_the_log_holds_loss_and_rate_of_every_step"),
    "sample_prompts": (RESULT, "test_prompts_may_come_from_a_file_and_samplers_by_name"),
    "sample_every_n_steps": (
        RESULT, "test_previews_are_drawn_at_the_steps_and_epochs_asked_for",
    ),
    "sample_every_n_epochs": (
        RESULT, "test_previews_are_drawn_at_the_steps_and_epochs_asked_for",
    ),
    "sample_at_first": (RESULT, "test_previews_are_drawn_at_the_steps_and_epochs_asked_for"),
    "sample_sampler": (RESULT, "test_prompts_may_come_from_a_file_and_samplers_by_name"),
    "training_comment": (RESULT, "test_texts_are_kept_in_the_file"),
    "metadata_title": (RESULT, "test_texts_are_kept_in_the_file"),
    "metadata_author": (RESULT, "test_texts_are_kept_in_the_file"),
    "metadata_description": (RESULT, "test_texts_are_kept_in_the_file"),
    "metadata_license": (RESULT, "test_texts_are_kept_in_the_file"),
    "metadata_tags": (RESULT, "test_texts_are_kept_in_the_file"),
    "no_metadata": (RESULT, "test_no_metadata_keeps_only_what_is_needed_to_load"),
    "tag_occurrence_txt_file": (RESULT, "test_the_list_of_tags_by_number_or_by_name"),
    "sort_tag_occurrence_alphabetically": (RESULT, "test_the_list_of_tags_by_number_or_by_name"),
}  # fmt: skip


def test_every_setting_has_a_test():
    assert set(SETTING_TESTS) == set(declarations(TrainSettings))


def words_of(node: ast.AST) -> set[str]:
    """The names of arguments, variables and texts in a piece of code."""
    words = set()
    for part in ast.walk(node):
        if isinstance(part, ast.keyword) and part.arg:
            words.add(part.arg)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            words.add(part.value)
        elif isinstance(part, ast.Name):
            words.add(part.id)
    return words


@pytest.mark.parametrize("module", sorted({module for module, _ in SETTING_TESTS.values()}))
def test_the_test_of_a_setting_is_there_and_gives_the_setting(module):
    """In the test itself, or in a table of its file that it goes through."""
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    tests = {node.name: words_of(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
    tables = {target.id: words_of(node.value) for node in tree.body if isinstance(node, ast.Assign)
              for target in node.targets if isinstance(target, ast.Name)}  # fmt: skip
    for setting, (place, name) in SETTING_TESTS.items():
        if place == module:
            words = tests[name].union(*(tables[word] for word in tests[name] & tables.keys()))
            assert setting in words, (setting, name)
