"""A request or several of every method that the services take, for tests that spoil them.

In protobuf's text form. $image and $other are pictures in the store, $photos and $tests folders
that may be imported, $manifest a dataset's, $operation an operation that has ended.
"""

from collections.abc import Mapping
from string import Template

from google.protobuf import text_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_STUDY = """dataset: "datasets/photos" images_per_class: 2 seeds: [1, 2] pool_uri: "$manifest"
  arms { method: "simple" strategy: "combined" classifier: "cnn4" }
  arms { method: "mvc" parameters { key: "coarse_steps" value: "2" } images_per_class: 1 }
  training { policy: "standard" classifier: "cnn4" step_count: 2 batch_size: 4 image_size: 32 }
  test_sets { name: "again" dataset: "datasets/photos" } budget: TRAINING_BUDGET_STEPS"""
_AUGMENTATION = """method: "simple" images_per_class: 1 seed: 7 steps: 1 guidance_scale: 2
  class_names: "dog" class_counts { key: "dog" value: 1 } negative_prompt: "text"
  check_safety: true preview_count: 1"""
_MVC = """method: "mvc" images_per_class: 1 parameters { key: "coarse_steps" value: "1" }
  parameters { key: "fine_steps" value: "1" } make_factor: 2 keep: "clip_score"
  deterministic: true"""
_REAL_RUN = """manifest_uri: "$manifest" policy: "standard" classifier: "cnn4" step_count: 2
  batch_size: 4 learning_rate: 0.01 seed: 3 image_size: 32"""
_RUN = f"""{_REAL_RUN} strategy: "combined" synthetic_manifest_uri: "$manifest"
  test_sets {{ name: "again" manifest_uri: "$manifest" }}"""
_TUNING = """manifest_uri: "$manifest" method: "textual_inversion" model: "text" epoch_count: 1
  epoch_step_count: 1 batch_size: 2 learning_rate: 0.001 class_names: "dog" class_texts: "dog"
  templates: "a photo of {}" """
_ARTEFACT = f'artefacts {{ uri: "$image" sha256: "{"0" * 64}" kind: ARTEFACT_KIND_TOKENS }}'
_ZEROS = "\\0" * 64
_TENSOR = f'data: "{_ZEROS}" shape: [1, 16] data_type: DATA_TYPE_FLOAT32 encoder: "any"'
_PAGE = "page_size: 2"

_REQUESTS: Mapping[str, tuple[str, ...]] = {
    "ImportDataset": (
        'dataset_id: "photos" source { train_uri: "$photos" test_uri: "$tests" }',
        """dataset_id: "more" source { train_uri: "$photos" layout: FOLDER_LAYOUT_CLASSES
          follow_links: true display_names { key: "dog" value: "puppy" }
          protocol { fraction: 0.5 seed: 3 validation_fraction: 0.25 } }""",
        """dataset_id: "tail" source { train_uri: "$photos" test_uri: "$tests" refuse_leaks: true
          protocol { long_tail { imbalance_factor: 2 head_count: 2 } seed: 1 } }""",
        """dataset_id: "counts" source { train_uri: "$photos" image_column: "image"
          label_column: "label" protocol { class_counts { counts { key: "dog" value: 1 }
            counts { key: "airplane" value: 2 } counts { key: "ship" value: 4 } } } }""",
    ),
    "GetDataset": ('name: "datasets/photos"',),
    "ListDatasets": (_PAGE,),
    "CreateAugmentation": tuple(
        f'parent: "datasets/photos" augmentation_id: "a" augmentation {{ {one} }}'
        for one in (_AUGMENTATION, _MVC)
    ),
    "PlanAugmentation": tuple(
        f'parent: "datasets/photos" augmentation {{ {one} }}' for one in (_AUGMENTATION, _MVC)
    ),
    "GetAugmentation": ('name: "datasets/photos/augmentations/a"',),
    "ListAugmentations": (f'parent: "datasets/photos" {_PAGE}',),
    "CreateStudy": (f'study_id: "a" study {{ {_STUDY} }}',),
    "PlanStudy": (f"study {{ {_STUDY} }}",),
    "GetStudy": ('name: "studies/a"',),
    "ListStudies": (_PAGE,),
    "gateway.ListModels": ('methods: ["simple", "mvc"] include_training: true',),
    "CaptionImage": ('image_uri: "$image" prefix: "a photo" max_tokens: 4',),
    "StreamCaptions": ('item_id: "one" request { image_uri: "$image" max_tokens: 4 }',),
    "WritePrompts": (
        'class_name: "dog" strategy: "clip_templates" prompt_count: 2 seed: 4 display_name: "pup"',
        'class_name: "dog" strategy: "simple" prompt_count: 1 other_class_names: ["ship", "cat"]',
    ),
    "DescribeSenses": ('class_name: "crane" other_class_names: ["ship", "airplane"]',),
    "RegisterClassNames": ('class_names: ["dog", "ship", "airplane"]',),
    "EncodePrompts": ('model: "text" prompts: ["a photo of a dog", "a ship"]',),
    "EncodeImages": ('model: "unclip" image_uris: ["$image", "$other"]',),
    "GenerateImages": (
        f"""model: "text" sampling {{ steps: 1 guidance_scale: 2 }} output_uri: "store:fuzzed"
          items {{ item_id: "one" seed: 1 text {{ prompt: "a dog" }} negative {{ prompt: "b" }} }}
          items {{ item_id: "two" text {{ embedding {{ {_TENSOR} }} {_ARTEFACT} }} }}""",
        """model: "text" sampling { steps: 2 deterministic: true } items { item_id: "one"
          text { mix { captions: ["a dog", "a dog on grass", "a brown dog"] start: 1
            coarse { source: 1 first: 1 end: 3 } fine { source: 2 row: 1 first: 2 end: 9 } } }
          image { start { image_uri: "$image" strength: 0.5 } } }""",
        """model: "pix2pix" sampling { steps: 1 } items { item_id: "one" text { prompt: "a dog" }
          image { concat { image_uri: "$image" image_guidance_scale: 1.5 } } }""",
        f"""model: "unclip" sampling {{ steps: 1 }}
          items {{ item_id: "a" image {{ unclip {{ image_uri: "$image" noise_level: 3 }} }} }}
          items {{ item_id: "b" image {{ unclip {{ embedding {{ {_TENSOR} }} }} }} }}
          items {{ item_id: "c" image {{ mixup {{ first_image_uri: "$image"
            second_image_uri: "$other" share: 0.5 zeroed_features: [1, 2] }} }} }}
          items {{ item_id: "d" image {{ cutmix {{ first_image_uri: "$image"
            second_image_uri: "$other" left: 0.1 top: 0.2 right: 0.5 bottom: 0.6 }} }} }}
          items {{ item_id: "e" image {{ adapter {{ image_uri: "$image" scale: 1 }} }} }}""",
    ),
    "CountTokens": ('model: "text" texts: ["a dog", "a ship"]',),
    "EmbedTexts": ('texts: ["a dog", "a ship"]',),
    "EmbedImages": ('image_uris: ["$image", "$other"]',),
    "CreateIndex": ('index_id: "photos" pool_uri: "$manifest"',),
    "GetIndex": ('name: "indexes/photos"',),
    "ListIndexes": (_PAGE,),
    "SearchImages": (
        """index: "indexes/photos" hit_count: 2 queries { text: "a dog" }
          queries { image_uri: "$image" } filters { column: "class_name" one_of { texts: "dog" } }
          drop { protected_manifest_uri: "$manifest" max_duplicate_distance: 2 repeats: true }""",
        """index: "indexes/photos" hit_count: 1 queries { text: "a ship" }
          filters { column: "label" between { least: 0 most: 1 } }""",
    ),
    "SampleImages": (
        """index: "indexes/photos" image_count: 2 skip_count: 1 seed: 3
          filters { column: "class_name" containing: "o" }""",
    ),
    "ScreenImages": (
        """candidates { image_uri: "$image" text: "a dog" } protected_manifest_uri: "$manifest"
          policy { min_clip_score: 0.1 max_unsafe_score: 0.9 max_duplicate_distance: 4 }""",
    ),
    "CreateTrainingRun": tuple(
        f'training_run_id: "a" training_run {{ {one} }}' for one in (_RUN, _REAL_RUN)
    ),
    "PlanTrainingRun": (
        f"training_run {{ {_RUN} }}",
        f'training_run {{ {_REAL_RUN} strategy: "combined" }} planned_image_count: 9',
    ),
    "GetTrainingRun": ('name: "trainingRuns/a"',),
    "ListTrainingRuns": (_PAGE,),
    "CreateTuning": (f'tuning_id: "a" tuning {{ {_TUNING} }}',),
    "GetTuning": ('name: "tunings/a"',),
    "ListTunings": (_PAGE,),
    "WatchMetrics": ('training_run: "trainingRuns/a" after_step: 1',),
    "ListOperations": ('name: "operations" page_size: 2',),
    "GetOperation": ('name: "$operation"',),
    "DeleteOperation": ('name: "$operation"',),
    "CancelOperation": ('name: "$operation"',),
    "WaitOperation": ('name: "$operation" timeout { nanos: 1000 }',),
    "ServerReflectionInfo": (
        'list_services: "*"',
        'file_containing_symbol: "grpc.health.v1.Health"',
    ),
    "Check": ('service: ""', 'service: "live"'),
    "Watch": ('service: "live"',),
}


def valid_requests(method: MethodDescriptor, values: Mapping[str, str]) -> list[Message]:
    """Returns requests of a method that keep every rule; `values` are those of the $ names."""
    kind = GetMessageClass(method.input_type)
    own = method.full_name.split(".")[1] + "." + method.name
    texts = _REQUESTS.get(own) or _REQUESTS.get(method.name, ("",))
    return [text_format.Parse(Template(text).substitute(values), kind()) for text in texts]
