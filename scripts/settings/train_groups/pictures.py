"""The settings of a training that tell its pictures, captions and their variations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scripts.core.declare import setting
from scripts.settings.train_reading import read_arguments, read_resolution


@dataclass(frozen=True)
class PictureSettings:
    """Pictures, captions, how both are varied and kept."""

    # fmt: off
    train_data_dir: Path | None = setting(
        None, label="Pictures", page="Pictures", path="folder", aliases=["img_folder"],
        help="The folder that holds the picture folders, each named like 10_name: how often its "
        "pictures are repeated, then what they show.",
        beware="One level too high or too deep, pictures or their repeats are not found.")
    reg_data_dir: Path | None = setting(
        None, label="Regularisation pictures", page="Pictures", path="folder", advanced=True,
        aliases=["reg_img_folder"],
        help="A folder of ordinary pictures of the same class, so that the model does not forget "
        "them.",
        beware="Training takes twice as long: they are shown as often as your own pictures.")
    dataset_config: Path | None = setting(
        None, label="Dataset file", page="Pictures", path="file", advanced=True,
        help="A dataset TOML of sd-scripts, in place of the picture folders above.")
    folder_repeats: dict[str, int] = setting(
        {}, label="Repeats by folder", page="Pictures", advanced=True, read=read_arguments,
        help="Repeats for folders by name, such as cats=10, without renaming the folders.",
        beware="1 to 30 are usual. A folder with many more repeats outweighs the others.")
    resolution: tuple[int, int] | None = setting(
        None, label="Resolution", page="Pictures", aliases=["train_resolution", "max_resolution"],
        read=read_resolution,
        help="Training resolution, 512 or 512,768 (width,height); when not set, what suits the "
        "base model.",
        usual=(512, 1024), below="Faces and small things stay blurred.",
        above="Memory and time grow fast, and the base models were made for less.")
    enable_bucket: bool = setting(
        True, label="Keep picture shapes", page="Pictures", aliases=["buckets"],
        help="Sort the pictures into buckets by shape in place of cropping all to one shape.",
        beware="When off, all pictures are cropped to one shape, and heads may be cut off.")
    min_bucket_reso: int = setting(
        256, label="Shortest bucket side", page="Pictures", low=64, high=4096, advanced=True,
        aliases=["min_bucket_resolution"], help="The shortest side a bucket may have, in pixels.",
        usual=(256, 512), below="Very narrow pictures are trained, with little to see in them.",
        above="Long and narrow pictures lose their ends.")
    max_bucket_reso: int | None = setting(
        None, label="Longest bucket side", page="Pictures", low=64, high=8192, advanced=True,
        aliases=["max_bucket_resolution"],
        help="The longest side a bucket may have, in pixels; twice that of the resolution when "
        "not set.",
        usual=(768, 2048), below="Long and narrow pictures lose their ends.",
        above="Very long pictures get buckets of their own, and batches are seldom full.")
    bucket_reso_steps: int = setting(
        64, label="Bucket step", page="Pictures", low=8, high=512, advanced=True,
        help="Bucket sides are multiples of this many pixels; itself a multiple of 8.",
        usual=(32, 64), below="Many buckets with few pictures each: batches are seldom full.",
        above="More is cropped away from every picture.")
    bucket_no_upscale: bool = setting(
        False, label="Never enlarge", page="Pictures", advanced=True,
        help="Small pictures keep their size in place of being enlarged.",
        beware="Small pictures teach little detail, and make more buckets.")
    caption_extension: str = setting(
        ".txt", label="Caption files end with", page="Pictures", advanced=True,
        help="The ending of the caption files beside the pictures.",
        beware="With a wrong ending no captions are found, and only folder names are learnt.")
    shuffle_caption: bool = setting(
        False, label="Shuffle tags", page="Pictures", aliases=["shuffle_captions"],
        help="Put the tags of a caption in a new order each time; good for tag captions.",
        beware="Captions in whole sentences are torn apart at their commas: leave it off for "
        "them.")
    keep_tokens: int = setting(
        0, label="Keep the first tags", page="Pictures", low=0, high=255,
        help="So many tags at the start stay in place when tags are shuffled or dropped; 1 keeps "
        "a trigger word first.",
        usual=(0, 3), above="Tags that never move are learnt as one with the trigger word.")
    caption_prefix: str | None = setting(
        None, label="Text before captions", page="Pictures", advanced=True,
        help="Text put in front of every caption, such as a trigger word and a comma.",
        beware="Without a comma at its end it becomes one with the first tag.")
    caption_suffix: str | None = setting(
        None, label="Text after captions", page="Pictures", advanced=True,
        help="Text put behind every caption.",
        beware="Without a comma at its start it becomes one with the last tag.")
    caption_dropout_rate: float = setting(
        0.0, label="Drop captions", page="Pictures", low=0, high=1, advanced=True,
        help="The share of pictures trained without their caption, 0 to 1.",
        usual=(0, 0.1), above="The LoRA shows in every picture, even without its trigger word.")
    caption_dropout_every_n_epochs: int = setting(
        0, label="Epochs without captions", page="Pictures", low=0, advanced=True,
        help="Every so many epochs all captions are left out; 0 for never.",
        usual=(0, 0),
        above="The trigger word is learnt less well; 1 leaves out all captions, always.")
    caption_tag_dropout_rate: float = setting(
        0.0, label="Drop tags", page="Pictures", low=0, high=1, advanced=True,
        help="The share of tags left out each time, 0 to 1.",
        usual=(0, 0.2), above="What is seen but not named is learnt as part of the LoRA.")
    token_warmup_min: int = setting(
        1, label="Tags at the start", page="Pictures", low=1, advanced=True,
        help="How many tags are used at the first step of a token warm-up.",
        usual=(1, 10), above="The warm-up has hardly any effect.")
    token_warmup_step: float = setting(
        0.0, label="Token warm-up", page="Pictures", low=0, advanced=True,
        help="Tags are added until this step (a fraction below 1: of all steps); 0 for off.",
        usual=(0, 500), above="Much of the training passes with tags missing.")
    weighted_captions: bool = setting(
        False, label="Weighted captions", page="Pictures", advanced=True,
        help="Captions may hold weights such as (red hair:1.2).",
        beware="Brackets in tags are read as weights, unless a \\ stands before each.")
    flip_aug: bool = setting(
        False, label="Mirror pictures", page="Pictures",
        help="Mirror pictures at random; not for faces or things with a left and a right.",
        beware="Partings, scars and writing come out on either side.")
    color_aug: bool = setting(
        False, label="Vary colours", page="Pictures", advanced=True,
        help="Vary hue and brightness a little at random; turns the latent cache off.",
        beware="Much slower, as pictures are encoded at every step; colours are learnt less "
        "exactly.")
    random_crop: bool = setting(
        False, label="Random crop", page="Pictures", advanced=True,
        help="Cut the bucket's shape from a random place in place of the middle.",
        beware="Heads may be cut off, and captions may name what is no longer seen.")
    masked_loss: bool = setting(
        False, label="Masks", page="Pictures", advanced=True, aliases=["alpha_mask"],
        help="Train only where the picture's transparency, or a mask picture, is opaque (white).",
        beware="What is masked out is not learnt, and may come out at random.")
    conditioning_data_dir: Path | None = setting(
        None, label="Mask folder", page="Pictures", path="folder", advanced=True,
        shown_when=("masked_loss", [True]),
        help="A folder with a mask picture of the same name for each picture; without it the "
        "transparency of the pictures is the mask.",
        beware="White is learnt, black is not: the other way round the subject is missed.")
    cache_latents: bool = setting(
        True, label="Cache latents", page="Pictures", advanced=True,
        help="Encode the pictures once before the training: faster, and needs less memory.",
        beware="When off, every picture is encoded at each step: slower, and more memory.")
    cache_latents_to_disk: bool = setting(
        False, label="Keep the cache", page="Pictures", advanced=True,
        help="Keep the encoded pictures for the next training, in the cache folder.",
        beware="The cache folder grows with every new picture and resolution.")
    # fmt: on
