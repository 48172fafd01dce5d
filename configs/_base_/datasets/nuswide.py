"""NUS-WIDE: the paper's protocol, 150,000 labelled images to train and 59,347 to test, 224×224.

Three random splits: run with train_dataloader.dataset.split_index=0, 1, 2 (and the same for val and
test) and average the last checkpoints; the paper averages the best test score of each split, which
selects on the test set. The owners' files lie below data/nus_wide: ConceptsList/, Groundtruth/,
ImageList/, Flickr/. Images whose Flickr link is dead: drop_missing=True.
"""

_base_ = ["images_224.py"]

data_preprocessor = dict(num_classes=81)

train_dataloader = dict(dataset=dict(type="NusWide", data_root="data/nus_wide", split="train"))
val_dataloader = dict(dataset=dict(type="NusWide", data_root="data/nus_wide", split="test"))
test_dataloader = val_dataloader
