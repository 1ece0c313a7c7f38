# SPDX-License-Identifier: Apache-2.0
"""What sets the families of readers apart: BERT, ELECTRA and ALBERT, in Google's checkpoints and on
the Hugging Face Hub.
"""

from typing import Dict, NamedTuple, Tuple

LAYER_NORM_EPSILON = 1e-12


class Family(NamedTuple):
    """A family of models.

    Names of variables are scopes below one another.

    Attributes:
      title: the family in messages, with its article.
      marker: beginning of variable names that no other family has.
      hub_defaults: what transformers assumes where a config.json says nothing.
      hub_names: pairs of parts of names, here and on the Hub, where they differ by more than dots.
      root: of all variables but the span head.
      projection: of the dense layer from narrower embeddings to the hidden size.
      layer: of a layer, with its number, or without where all layers share their weights.
      attention, attention_output, attention_norm, intermediate, output, output_norm: of a layer's
        parts.
      has_pooler: whether checkpoints carry a pooler, which the span head does not read.
    """

    title: str = "a BERT"
    marker: str = "bert/encoder/layer_"
    hub_defaults: Dict[str, object] = {"vocab_size": 30522, "type_vocab_size": 2}
    hub_names: Tuple[Tuple[str, str], ...] = (("layer_", "layer."),)
    root: str = "bert"
    projection: str = "embeddings_project"
    layer: str = "encoder/layer_{}"
    attention: str = "attention/self"
    attention_output: str = "attention/output/dense"
    attention_norm: str = "attention/output/LayerNorm"
    intermediate: str = "intermediate/dense"
    output: str = "output/dense"
    output_norm: str = "output/LayerNorm"
    has_pooler: bool = True

    def scope(self, layer: int) -> str:
        """Returns the scope of a layer's variables."""
        return f"{self.root}/{self.layer.format(layer)}"


FAMILIES = {
    "bert": Family(),
    "electra": Family(  # Clark et al., 2020, arXiv 2003.10555
        title="an ELECTRA",
        marker="electra/",
        hub_defaults={
            "vocab_size": 30522,
            "embedding_size": 128,
            "hidden_size": 256,
            "num_attention_heads": 4,
            "intermediate_size": 1024,
            "type_vocab_size": 2,
        },
        root="electra",
        has_pooler=False,
    ),
    "albert": Family(  # Lan et al., 2020, arXiv 1909.11942
        title="an ALBERT",
        marker="bert/encoder/transformer/",
        hub_defaults={
            "vocab_size": 30000,
            "embedding_size": 128,
            "hidden_size": 4096,
            "num_attention_heads": 64,
            "intermediate_size": 16384,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "hidden_act": "gelu_new",
            "type_vocab_size": 2,
        },
        hub_names=(
            ("bert/encoder/transformer/group_0/inner_group_0/", "encoder.albert_layer_groups.0.albert_layers.0."),
            ("attention_1/self/", "attention."),
            ("attention_1/output/dense/", "attention.dense."),
            ("0.LayerNorm/", "0.attention.LayerNorm."),
            ("ffn_1/intermediate/dense/", "ffn."),
            ("ffn_1/intermediate/output/dense/", "ffn_output."),
            ("LayerNorm_1/", "full_layer_layer_norm."),
            ("bert/pooler/dense/", "pooler."),
            ("bert/", ""),
        ),
        projection="encoder/embedding_hidden_mapping_in",
        layer="encoder/transformer/group_0/inner_group_0",
        attention="attention_1/self",
        attention_output="attention_1/output/dense",
        attention_norm="LayerNorm",
        intermediate="ffn_1/intermediate/dense",
        output="ffn_1/intermediate/output/dense",
        output_norm="LayerNorm_1",
    ),
}
