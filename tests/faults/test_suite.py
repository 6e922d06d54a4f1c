def test_what_is_here_is_run_by_make_faults_alone(request):
    assert request.node.get_closest_marker("faults")
