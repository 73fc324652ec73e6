import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from host_plugin import Generate, Message, PluginError
from backend import answered, asked


class Asked(unittest.TestCase):
    def test_a_text_is_a_completion(self):
        path, body = asked(Generate(prompt="2 + 2 =", n=1, max_tokens=4, stop=["\n"]), "m")
        self.assertEqual(path, "/v1/completions")
        wanted = {"model": "m", "n": 1, "prompt": "2 + 2 =", "max_tokens": 4, "stop": ["\n"]}
        self.assertEqual(body, wanted)

    def test_messages_are_a_chat(self):
        path, body = asked(Generate(prompt=[Message("user", ["2 + 2?"])], n=2), "m")
        self.assertEqual(path, "/v1/chat/completions")
        self.assertEqual(body["messages"], [{"role": "user", "content": "2 + 2?"}])


class Answered(unittest.TestCase):
    def test_an_answer_is_its_text_and_why_it_ended(self):
        reply = {"choices": [{"text": " 4", "finish_reason": "stop"}], "usage": {"prompt_tokens": 5}}
        completion = answered(reply)
        self.assertEqual([one.text for one in completion.choices], [" 4"])
        self.assertEqual(completion.usage.prompt_tokens, 5)

    def test_what_is_no_answer_is_none(self):
        for reply in [None, [], {}, {"choices": []}, {"choices": [{"text": 7}]}, {"choices": [{}]}]:
            with self.assertRaises(PluginError):
                answered(reply)


if __name__ == "__main__":
    unittest.main()
