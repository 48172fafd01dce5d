"""Known sets: a joint distribution over label sets, learned from those of the training images.

A method of ours, on the trunk of `class_queries.py`. Each image has a probability for every label
set of the training set, and for noisy copies of these, so that every set is possible;
`KnownSetsHead` has the equations. Its conditionals are exact, which no classifier of single labels
has: known labels of an image (`given`, `excluded`) change the probabilities of the others.

For: completing a set from known labels; consistent sets, without duplicates by construction. Not
for: O-F1 alone (on frozen maps 0.2 to 0.6 points ahead of `class_queries` at the defaults; level at
chosen points, and if the encoder is trained); test images from another distribution, for which the
training sets are a wrong prior. The training log says how many training images share their set with
another, tools/check_dataset.py how many test images have a set of the training images.

Related: CRF with supported inference (Nadia Ghamrawi, Andrew McCallum: "Collective multi-label
classification", CIKM 2005).
"""

model = dict(neck=None, head=dict(_delete_=True, type="KnownSetsHead"))
keep = ["head.num_classes", "head.in_channels", "head.drop_class_token"]
