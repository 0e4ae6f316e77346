package baseline

import "github.com/foreshock/foreshock/internal/measure"

// wireSignals gives signals the numbers that they have in what is stored, which
// outlives the program that wrote it: new ones are appended, none is moved or
// taken out.
var wireSignals = [...]measure.Signal{
	measure.Listeners, measure.QueueDepth, measure.QueueLimit, measure.QueueWait, measure.ListenDropsRate, measure.WorkersOccupied, measure.WorkersLimit,
	measure.WorkersSlope, measure.WorkersFullIn, measure.WorkersFullInError, measure.WorkersFullInFast, measure.WorkersRise, measure.TurnAwayLimit,
	measure.SlowClients, measure.CloseWaitLeaked, measure.CloseWaitLeakedSlope, measure.DescriptorsUsed, measure.DescriptorsLimit,
	measure.DescriptorsSlope, measure.StuckClosing, measure.NewFlowsUsual, measure.NewFlowsNorm, measure.NewFlowsLow, measure.Sockets,
	measure.Established, measure.Accepted, measure.AcceptedSlope, measure.Unaccepted, measure.OldestUnaccepted, measure.Busy, measure.CloseWaitAccepted,
	measure.CloseWaitUnaccepted, measure.CloseWaitUnacceptedGrowth, measure.SynRecv, measure.SynSent, measure.FinWait1, measure.FinWait2,
	measure.TimeWait, measure.LastAck, measure.Closing, measure.Retransmitting, measure.ZeroWindow, measure.NewFlowsRate, measure.GoneFlowsRate,
	measure.EstablishedShare, measure.SynSentShare, measure.CloseWaitShare, measure.Pending, measure.PendingLongest, measure.PendingLate,
	measure.LateAfter, measure.Answering, measure.HeardAgo, measure.HeardGapUsual, measure.HeardByChance, measure.FailedAfterHeard,
	measure.ResetAfterHeard, measure.Silent, measure.AnswerNow, measure.AnswerSlow, measure.AnswerUsual, measure.AnswerHigh, measure.ConnectRetrying,
	measure.RetransmitsPerConnectionRate, measure.RetransmitShare, measure.EstablishedRecent, measure.EstablishedMost, measure.VanishedRate,
	measure.VanishedUsual, measure.FinishedRate, measure.CloseWaitLingering, measure.PortsUsed, measure.PortsLimit, measure.BalancerUp,
	measure.ChecksEvery, measure.PassiveOpensRate, measure.ActiveOpensRate, measure.AttemptFailsRate, measure.EstabResetsRate,
	measure.RetransmittedSegmentsRate, measure.RetransmissionTimeoutsRate, measure.ResetsSentRate, measure.ListenOverflowsRate,
	measure.SyncookiesSentRate, measure.AcceptsRate, measure.AttemptFailsUsual, measure.ResetsReceivedRate, measure.ResetsReceivedUsual,
	measure.ActiveOpensUsual, measure.RetransmittedSegmentsUsual, measure.AttemptFailedAgo, measure.ResetReceivedAgo,
	measure.Connections, measure.EstablishedLost, measure.RetransmittingShare, measure.PendingLateShare, measure.Destinations,
	measure.DestinationsRetransmitting, measure.DestinationsConnecting, measure.DestinationsUnanswered, measure.DestinationsLost,
	measure.DestinationsCloseWait, measure.DestinationsPendingLate, measure.DestinationsResending, measure.DestinationsFewer,
	measure.DestinationsGone, measure.Outgoing, measure.UnclassifiedShare,
}

// wireNumbers are the places of the signals in wireSignals; -1 for one that is
// missing there, which a test finds.
var wireNumbers = func() (numbers [measure.NumSignals]int) {
	for sig := range numbers {
		numbers[sig] = -1
	}
	for n, sig := range wireSignals {
		numbers[sig] = n
	}
	return numbers
}()
