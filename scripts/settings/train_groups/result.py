"""The settings of a training that tell what is saved, drawn and written, when and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.declare import setting
from scripts.settings.train_reading import read_precision, read_prompts

PRECISIONS = ("float", "fp16", "bf16")
SAMPLERS = (
    "ddim", "euler", "euler_a", "heun", "dpm_2", "dpm_2_a", "dpm++ 2m", "dpm++ 2m karras",
    "dpmsolver", "dpmsolver++", "dpmsingle", "pndm", "lms", "ddpm", "unipc",
)  # fmt: skip


@dataclass(frozen=True)
class ResultSettings:
    """Saves, previews and texts."""

    # fmt: off
    # --- Result ------------------------------------------------------------------------------
    output_dir: Path | None = setting(
        None, label="Save into", page="Result", path="output folder", aliases=["output_folder"],
        help="The folder for the finished LoRA.")
    output_name: str = setting(
        "last", label="Name", page="Result", aliases=["change_output_name"],
        help="The name of the LoRA file, without its ending.",
        beware="A name that is taken gets a number behind it; nothing is replaced.")
    save_precision: str = setting(
        "fp16", label="Number format of the file", page="Result", choices=PRECISIONS,
        read=read_precision, advanced=True,
        help="fp16 is what everyone uses; float is twice as large.",
        beware="float is twice as large without looking better; old programs cannot read bf16.")
    save_model_as: str = setting(
        "safetensors", label="Kind of file", page="Result", aliases=["save_as"],
        choices=("safetensors", "ckpt", "pt"), advanced=True,
        help="The format of the file; safetensors unless an old program needs another.",
        beware="ckpt and pt files can hide harmful code, so many sites refuse them.")
    save_every_n_epochs: int | None = setting(
        None, label="Save every so many epochs", page="Result", low=1,
        help="Also save the LoRA each time so many epochs have passed.",
        usual=(1, 5),
        above="Few versions to choose from, and much is lost if the training breaks off.")
    save_every_n_steps: int | None = setting(
        None, label="Save every so many steps", page="Result", low=1, advanced=True,
        help="Also save the LoRA each time so many steps have passed.",
        usual=(100, 1000), below="The disk fills up, and saving takes time.",
        above="Few versions to choose from, and much is lost if the training breaks off.")
    save_n_epoch_ratio: int | None = setting(
        None, label="Save so many times", page="Result", low=1, advanced=True,
        help="Save the LoRA about so many times in all; takes the place of every n epochs.",
        usual=(4, 20),
        below="Few versions to choose from, and much is lost if the training breaks off.",
        above="The disk fills up with versions that are much alike.")
    save_last_n_epochs: int | None = setting(
        None, label="Keep the last epochs", page="Result", low=1, advanced=True,
        help="Of the LoRAs saved by epoch during this training keep only the last so many.",
        usual=(3, 20), below="The best version is often an earlier one, which is then gone.",
        above="Hardly any are deleted, and the disk fills up.")
    save_last_n_steps: int | None = setting(
        None, label="Keep the last steps", page="Result", low=1, advanced=True,
        help="Of the LoRAs saved by step keep only those of the last so many steps.",
        usual=(500, 5000), below="The best version is often an earlier one, which is then gone.",
        above="Hardly any are deleted, and the disk fills up.")
    save_state: bool = setting(
        False, label="Save the training state", page="Result",
        help="Save what is needed to go on later, beside each saved LoRA.",
        beware="Each state is larger than the LoRA itself; with many saves the disk fills up.")
    resume: Path | None = setting(
        None, label="Go on from a state", page="Result", path="folder", advanced=True,
        help="A state folder of an earlier training, to go on exactly where it stopped.",
        beware="Pictures and settings should be as they were, or it will not go on as before.")
    logging_dir: Path | None = setting(
        None, label="TensorBoard log", page="Result", path="output folder", advanced=True,
        aliases=["log_dir"], help="A folder for the curves of loss and rates, for TensorBoard.")

    # --- Previews ----------------------------------------------------------------------------
    sample_prompts: tuple[Any, ...] | Path | None = setting(
        None, label="Preview prompts", page="Previews", path="file", read=read_prompts,
        help="What to draw as a preview: a file with a prompt a line, or a list of prompts in the "
        "config.",
        beware="Each prompt costs time at every preview; 2 to 4 are enough.")
    sample_every_n_steps: int | None = setting(
        None, label="Preview every so many steps", page="Previews", low=1,
        help="Draw previews each time so many steps have passed.",
        usual=(100, 1000), below="More time may go into previews than into training.",
        above="What goes wrong is seen too late.")
    sample_every_n_epochs: int | None = setting(
        None, label="Preview every so many epochs", page="Previews", low=1,
        help="Draw previews each time so many epochs have passed.",
        usual=(1, 5), above="What goes wrong is seen too late.")
    sample_at_first: bool = setting(
        False, label="Preview before training", page="Previews",
        help="Draw previews before the first step too, to compare with.")
    sample_sampler: str = setting(
        "ddim", label="Sampler", page="Previews", suggestions=SAMPLERS, advanced=True,
        help="The sampler that draws the previews.")

    # --- Texts in the file -------------------------------------------------------------------
    training_comment: str | None = setting(
        None, label="Comment", page="Texts", help="A note kept in the LoRA file.",
        beware="Whoever gets the file can read it.")
    metadata_title: str | None = setting(
        None, label="Title", page="Texts", advanced=True,
        help="The title kept in the file; its name when not set.")
    metadata_author: str | None = setting(
        None, label="Author", page="Texts", advanced=True, help="The author kept in the file.",
        beware="Whoever gets the file can read it.")
    metadata_description: str | None = setting(
        None, label="Description", page="Texts", advanced=True,
        help="A description kept in the file.")
    metadata_license: str | None = setting(
        None, label="Licence", page="Texts", advanced=True, help="The licence kept in the file.")
    metadata_tags: str | None = setting(
        None, label="Tags", page="Texts", advanced=True,
        help="Tags kept in the file, with commas between.")
    no_metadata: bool = setting(
        False, label="No training details", page="Texts", advanced=True, aliases=["no_meta"],
        help="Leave the training details out of the file; what UIs need to load it stays.",
        beware="Nobody can look up later how the LoRA was made, not even you.")
    tag_occurrence_txt_file: bool = setting(
        False, label="List of tags", page="Texts", advanced=True,
        help="Write a text file beside the LoRA that counts the tags of the captions.")
    sort_tag_occurrence_alphabetically: bool = setting(
        False, label="Sort that list by name", page="Texts", advanced=True,
        shown_when=("tag_occurrence_txt_file", [True]),
        help="Sort the list of tags by name in place of by number.")
    # fmt: on
