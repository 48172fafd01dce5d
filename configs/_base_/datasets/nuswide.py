"""NUS-WIDE: the paper's protocol, 150,000 labeled images to train and 59,347 to test, 224×224.

There are three random splits: train with split_index=0, 1 and 2 of all three datasets, and average
the results of the last checkpoints. The published files go into data/nus_wide: ConceptsList/,
Groundtruth/, ImageList/, Flickr/. drop_missing=True leaves out images whose link is dead.
"""

_base_ = ["images_224.py"]

data_preprocessor = dict(num_classes=81)

train_dataloader = dict(dataset=dict(type="NusWide", data_root="data/nus_wide", split="train"))
val_dataloader = dict(dataset=dict(type="NusWide", data_root="data/nus_wide", split="test"))
test_dataloader = val_dataloader
