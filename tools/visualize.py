"""Draw how a model decodes images of its test set: tools/visualize.py CONFIG CHECKPOINT --index I.

Writes into DIR, for each image,

- INDEX_alignment.png: the cost matrix with the PLA and MLA assignments and their losses;
- INDEX_attention.png: the attention of each emitted label over the photo;
- INDEX_orderings.png: the target sequence of every ordering strategy, and its loss.

Images are named by their place in the config's test set (--index) or by their file (--images).
"""

from mmorderless.commands.visualize import main
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
