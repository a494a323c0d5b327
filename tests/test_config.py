"""The config: unknown keys, overrides, and a resolved copy that says the same."""

import pytest
import yaml

from gensim.config import Config, load_config
from gensim.errors import ConfigError

MINIMAL = {"run": "runs/x", "data": {"path": "a.h5ad", "scale": "counts"}}


def write(tmp_path, content) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def test_a_resolved_config_reads_back_the_same(tmp_path):
    config = load_config(write(tmp_path, MINIMAL))
    assert load_config(write(tmp_path, config.to_yaml())) == config


def test_dotted_overrides_reach_every_depth(tmp_path):
    overrides = [
        "seed=7", "data.context_columns=[cell_type]", "data.dose_column=null", "split.test.hold_out=contexts",
        "split.test.column=cell_type", "split.test.values=[B]", "training.learning_rate=2e-4", "coupling.kind=sinkhorn",
    ]  # fmt: skip
    config = load_config(write(tmp_path, MINIMAL), overrides)
    assert config.seed == 7
    assert config.split.test.values == ["B"]
    assert config.training.learning_rate == 2e-4
    assert config.coupling.kind == "sinkhorn"
    assert config.data.dose_column is None


def test_an_override_keeps_the_default_kind(tmp_path):
    config = load_config(write(tmp_path, MINIMAL), ["split.test.fraction=0.3", "autoencoder.n_latents=7"])
    assert (config.split.test.hold_out, config.split.test.fraction) == ("cells", 0.3)
    assert (config.autoencoder.kind, config.autoencoder.n_latents) == ("pca", 7)


@pytest.mark.parametrize("kind", ["nb", "zinb"])
def test_distributions_of_counts_need_counts(tmp_path, kind):
    with pytest.raises(
        ConfigError, match=rf"autoencoder\.kind={kind} is a distribution of counts and needs data\.scale=c"
    ):
        load_config(write(tmp_path, MINIMAL), [f"autoencoder.kind={kind}", "data.scale=log1p_cp10k"])


def test_integer_counts_cannot_be_made_of_logarithms(tmp_path):
    path = write(tmp_path, MINIMAL)
    with pytest.raises(ConfigError, match=r"cells=counts needs data\.scale=counts"):
        load_config(path, ["cells=counts", "data.scale=log1p_cp10k"])
    assert load_config(path, ["cells=log1p_cp10k"]).cells == "log1p_cp10k"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "data.perturbation_colum=x",
            r"unknown key 'data.perturbation_colum' \(did you mean 'perturbation_column'\?\)",
        ),
        ("trainign.max_cells=5", r"unknown key 'trainign' \(did you mean 'training'\?\)"),
        # As it is written, without the kind that says which keys there are.
        ("autoencoder.latents=5", r"unknown key 'autoencoder.latents' \(did you mean 'n_latents'\?\)"),
        ("split.test.fractoin=0.5", r"did you mean 'fraction'\?"),
        ("training.max_cells=-5", "training.max_cells.*greater than 0.*-5"),
        ("data.scale=raw", "data.scale.*'counts' or 'log1p_cp10k'.*'raw'"),
        ("coupling.kind=exakt", "coupling.*exakt"),
        ("data.batch_column=perturbation", "one obs column is named for two purposes"),
        ("seed", "not of the form section.key=value"),
        ("seed.x=1", "holds the value 0, not a section"),
        ("seed=[", "not YAML"),
    ],
)
def test_mistakes_are_named(tmp_path, override, message):
    path = write(tmp_path, {**MINIMAL, "seed": 0})
    with pytest.raises(ConfigError, match=message):
        load_config(path, [override])


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"'data\.scale' is needed"):
        load_config(write(tmp_path, {"run": "x", "data": {"path": "a"}}))
    with pytest.raises(ConfigError, match="is not a file"):
        load_config(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="mapping of sections"):
        load_config(write(tmp_path, "- a\n- b\n"))
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(write(tmp_path, "a: [1, "))


def test_a_split_by_context_needs_the_column_among_the_contexts(tmp_path):
    with pytest.raises(ConfigError, match=r"not among data\.context_columns"):
        load_config(write(tmp_path, MINIMAL), ["split.test={hold_out: contexts, column: donor, fraction: 0.5}"])


def test_yaml_cannot_run_code(tmp_path):
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(write(tmp_path, "run: !!python/object/apply:os.system ['true']\n"))


def test_shipped_configs_are_valid():
    from pathlib import Path

    shipped = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
    assert shipped
    for path in shipped:
        assert isinstance(load_config(path), Config)
