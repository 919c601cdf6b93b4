"""An alarm of the template, and the topic that it tells, on the emulator: who is subscribed hears of it."""

import json
from pathlib import Path

from fiso_cli.packaging.template import make_template
from tests.emulator import clients, running_emulator


def test_whoever_is_subscribed_to_the_topic_hears_an_alarm_ring(tmp_path: Path) -> None:
    resources = json.loads(make_template("prod").read_text())["Resources"]
    alarm = dict(resources["LogSpillAlarm"]["Properties"])
    with running_emulator(tmp_path) as url, clients(url) as aws:
        topic = aws("sns").create_topic(Name=resources["AlarmTopic"]["Properties"]["TopicName"])["TopicArn"]
        queue = aws("sqs").create_queue(QueueName="heard")["QueueUrl"]
        named = aws("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        aws("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=named)
        aws("cloudwatch").put_metric_alarm(**alarm | {"AlarmActions": [topic], "OKActions": [topic]})
        counted = {"MetricName": alarm["MetricName"], "Dimensions": alarm["Dimensions"], "Value": 1.0, "Unit": "Count"}
        aws("cloudwatch").put_metric_data(Namespace=alarm["Namespace"], MetricData=[counted])
        (heard,) = aws("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    told = json.loads(json.loads(heard["Body"])["Message"])
    assert (told["AlarmName"], told["NewStateValue"]) == ("fiso-prod-log-spill", "ALARM")
    assert told["AlarmDescription"] == alarm["AlarmDescription"]
