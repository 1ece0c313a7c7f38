# SPDX-License-Identifier: Apache-2.0
"""What sets the families of readers apart: BERT, ELECTRA and ALBERT."""

from typing import NamedTuple


class Family(NamedTuple):
    """A family of models, and how its variables are named in Google's checkpoints.

    Names are scopes below one another.

    Attributes:
      root: of all variables but the span head.
      projection: of the dense layer from narrower embeddings to the hidden size.
      layer: of a layer, with its number, or without where all layers share their weights.
      attention, attention_output, attention_norm, intermediate, output, output_norm: of a layer's
        parts.
      has_pooler: whether checkpoints carry a pooler, which the span head does not read.
    """

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
    "electra": Family(root="electra", has_pooler=False),  # Clark et al., 2020, arXiv 2003.10555
    "albert": Family(  # Lan et al., 2020, arXiv 1909.11942
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
